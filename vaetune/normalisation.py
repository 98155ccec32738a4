"""Batch normalisation (Ioffe & Szegedy 2015), live or frozen, written on trailing dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

Normalisation = Literal["none", "frozen", "live"]

_EPSILON = 1e-5


class Affine(nn.Module, ABC):
    """A scale and a shift for every channel of x [..., B, C, H, W], after `normalised`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @abstractmethod
    def normalised(self, x: Tensor) -> Tensor:
        """What is scaled and shifted."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(_placed(self.bias), self.normalised(x), _placed(self.weight))


class FrozenNorm(Affine):
    """Batch normalisation that stays at its initial statistics, mean 0 and variance 1: only scale and shift learn."""

    def normalised(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * (1 + _EPSILON) ** -0.5
        return scaled


class BatchNorm(Affine):
    """Each channel by the mean and variance of its batch while an epoch trains, else by their running averages.

    `kept` is the share of the old average that each batch leaves, 0.9 in most libraries. Every stacked member has
    statistics of its own. A pass without gradients reads the averages and changes nothing.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, kept: float) -> None:
        super().__init__(channels)
        self.kept = kept
        self.learning = False
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def normalised(self, x: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.learning and torch.is_grad_enabled():
            variance, mean = torch.var_mean(x, (-4, -2, -1), correction=0)
            count = x.shape[-4] * x.shape[-2] * x.shape[-1]
            with torch.no_grad():
                self.mean.lerp_(mean, 1 - self.kept)
                self.variance.lerp_(variance * (count / max(count - 1, 1)), 1 - self.kept)
        return (x - _placed(mean)) * _placed((variance + _EPSILON).rsqrt())


def norm(kind: Normalisation, channels: int, kept: float) -> Affine | None:
    """The normalisation of that kind, None for "none"."""
    if kind == "none":
        return None
    return FrozenNorm(channels) if kind == "frozen" else BatchNorm(channels, kept)


@contextmanager
def learning(model: nn.Module) -> Iterator[None]:
    """Lets the running averages of a model follow its batches."""
    layers = [module for module in model.modules() if isinstance(module, BatchNorm)]
    for module in layers:
        module.learning = True
    try:
        yield
    finally:
        for module in layers:
            module.learning = False


def _placed(channels: Tensor) -> Tensor:
    """[..., C] as [..., 1, C, 1, 1]."""
    return channels[..., None, :, None, None]
