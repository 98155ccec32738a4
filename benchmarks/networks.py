"""The benchmark's networks as people write them: plain torch modules; `loss` is summed over the batch, in nats."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


class Network(nn.Module, ABC):
    """A module that knows its loss."""

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of images [B, C, H, W] and labels [B], summed over the batch."""


class VAE(Network):
    """784-400-20-400-784, sigmoid and binary cross-entropy, as PyTorch's VAE example has it."""

    def __init__(self, pixels: int, hidden: int = 400, latents: int = 20) -> None:
        super().__init__()
        self.encoder = nn.Linear(pixels, hidden)
        self.mu = nn.Linear(hidden, latents)
        self.log_variance = nn.Linear(hidden, latents)
        self.decoder = nn.Linear(latents, hidden)
        self.pixels = nn.Linear(hidden, pixels)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """−ELBO."""
        h = functional.relu(self.encoder(self.features(x)))
        mu, log_variance = self.mu(h), self.log_variance(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
        mean = torch.sigmoid(self.pixel_logits(functional.relu(self.decoder(z))))
        kl = -0.5 * torch.sum(1 + log_variance - mu.pow(2) - log_variance.exp())
        return functional.binary_cross_entropy(mean, x.flatten(1), reduction="sum") + kl

    def features(self, x: Tensor) -> Tensor:
        """What the encoder's fully connected layers see."""
        return x.flatten(1)

    def pixel_logits(self, h: Tensor) -> Tensor:
        """Logits [B, pixels] from the decoder's last hidden layer."""
        logits: Tensor = self.pixels(h)
        return logits


class ConvVAE(VAE):
    """Two convolutions of stride 2 and their mirror around fully connected layers; 28×28 grey images."""

    def __init__(self, channels: tuple[int, int], hidden: int, latents: int) -> None:
        super(VAE, self).__init__()
        first, second = channels
        flat = second * 49
        self.down = nn.Sequential(
            nn.Conv2d(1, first, 4, 2, 1), nn.ReLU(), nn.Conv2d(first, second, 4, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.encoder = nn.Linear(flat, hidden)
        self.mu = nn.Linear(hidden, latents)
        self.log_variance = nn.Linear(hidden, latents)
        self.decoder = nn.Linear(latents, hidden)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(second, first, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(first, 1, 4, 2, 1)
        )
        self.widen = nn.Linear(hidden, flat)
        self.second = second

    def features(self, x: Tensor) -> Tensor:
        h: Tensor = self.down(x)
        return h

    def pixel_logits(self, h: Tensor) -> Tensor:
        planes = functional.relu(self.widen(h)).view(-1, self.second, 7, 7)
        logits: Tensor = self.up(planes)
        return logits.flatten(1)


class VIB(Network):
    """Trunk, variational layer, linear classifier: cross-entropy + β·KL (Alemi et al. 2017)."""

    def __init__(
        self, pixels: int, trunk: tuple[int, ...], latents: int, beta: float, offset: float, classes: int = 10
    ) -> None:
        super().__init__()
        sizes = [pixels, *trunk]
        layers = [m for a, b in zip(sizes, trunk, strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
        self.trunk = nn.Sequential(*layers)
        self.mu = nn.Linear(sizes[-1], latents)
        self.rho = nn.Linear(sizes[-1], latents)
        self.classifier = nn.Linear(latents, classes)
        self.beta, self.offset = beta, offset

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy + β·KL."""
        h = self.trunk(x.flatten(1))
        mu, sigma = self.mu(h), functional.softplus(self.rho(h) + self.offset)
        z = mu + torch.randn_like(mu) * sigma
        kl = 0.5 * torch.sum(mu.pow(2) + sigma.pow(2) - 1 - 2 * sigma.log())
        return functional.cross_entropy(self.classifier(z), y, reduction="sum") + self.beta * kl


Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def layers(*modules: nn.Module) -> list[Layer]:
    """The layers of `modules` that have weights, in the order in which they were made."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, Layer)]


@torch.no_grad()
def begin(layers: list[Layer], weights: list[tuple[Tensor, Tensor]]) -> None:
    """Gives the layers, in order, the weights (of linear ones [in, out]) and biases that another route begins with."""
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        assert layer.bias is not None
        layer.weight.copy_(weight.T if isinstance(layer, nn.Linear) else weight)
        layer.bias.copy_(bias)
