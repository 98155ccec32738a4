"""vaetune: fair hyperparameter studies of variational autoencoders on Ray."""

__version__ = "0.1.0"
