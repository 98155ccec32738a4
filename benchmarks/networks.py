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
        x = x.flatten(1)
        h = functional.relu(self.encoder(x))
        mu, log_variance = self.mu(h), self.log_variance(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
        mean = torch.sigmoid(self.pixels(functional.relu(self.decoder(z))))
        kl = -0.5 * torch.sum(1 + log_variance - mu.pow(2) - log_variance.exp())
        return functional.binary_cross_entropy(mean, x, reduction="sum") + kl


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


def linears(*modules: nn.Module) -> list[nn.Linear]:
    """The linear layers of `modules`, in the order in which they were made."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


@torch.no_grad()
def begin(layers: list[nn.Linear], weights: list[tuple[Tensor, Tensor]]) -> None:
    """Gives the layers, in order, the weights [in, out] and biases that another route begins with."""
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        layer.weight.copy_(weight.T)
        layer.bias.copy_(bias)
