"""The MLP VAE under pythae's own model and trainer: its epoch, without the checkpoints and screen around it."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import torch
from pythae.data.datasets import BaseDataset  # type: ignore[import-untyped]
from pythae.models import VAE, VAEConfig  # type: ignore[import-untyped]
from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-untyped]
from pythae.models.nn import BaseDecoder, BaseEncoder  # type: ignore[import-untyped]
from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.networks import begin, layers
from benchmarks.timing import Route
from vaetune.datasets.base import Images


class Encoder(BaseEncoder):  # type: ignore[misc]
    """784-400-2×20."""

    def __init__(self, pixels: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, hidden)
        self.mu = nn.Linear(hidden, latents)
        self.log_variance = nn.Linear(hidden, latents)

    def forward(self, x: Tensor) -> Any:
        """What pythae expects of an encoder."""
        h = functional.relu(self.hidden(x.flatten(1)))
        return ModelOutput(embedding=self.mu(h), log_covariance=self.log_variance(h))


class Decoder(BaseDecoder):  # type: ignore[misc]
    """20-400-784."""

    def __init__(self, pixels: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(latents, hidden)
        self.pixels = nn.Linear(hidden, pixels)

    def forward(self, z: Tensor) -> Any:
        """What pythae expects of a decoder."""
        return ModelOutput(reconstruction=torch.sigmoid(self.pixels(functional.relu(self.hidden(z)))))


def trainer(name: str, weights: list[tuple[Tensor, Tensor]], data: Images, batch: int, rate: float) -> Route:
    """`BaseTrainer.train_step`, which is one epoch, from these weights of a 784-400-20 network."""
    for name_ in ("pythae.trainers.base_trainer.base_trainer", "pythae"):
        logging.getLogger(name_).setLevel(logging.ERROR)
    shape = data.images.shape[1:]
    (pixels, hidden), latents = weights[0][0].shape, weights[1][0].shape[1]
    config = VAEConfig(input_dim=shape, latent_dim=latents, reconstruction_loss="bce")
    encoder, decoder = Encoder(pixels, hidden, latents), Decoder(pixels, hidden, latents)
    begin(layers(encoder, decoder), weights)
    model = VAE(config, encoder, decoder)
    dataset = BaseDataset(torch.from_numpy(data.images / 255).float(), torch.from_numpy(data.labels.copy()))
    folder = tempfile.mkdtemp(prefix="vaetune-bench-")
    training = BaseTrainerConfig(
        output_dir=folder, per_device_train_batch_size=batch, learning_rate=rate, optimizer_cls="Adam", no_cuda=True
    )
    trainer = BaseTrainer(model, dataset, training_config=training)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # the progress bar
    number = iter(range(1, 10**6))
    return Route(name, lambda: float(trainer.train_step(next(number))))
