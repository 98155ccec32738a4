"""What is measured on a trained model, beyond its loss: scores, calibration, scales of the latent."""
