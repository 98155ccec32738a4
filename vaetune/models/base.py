"""What every model is: loss terms in nats per example from a batch and given noise, and how its parameters begin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaetune.bottlenecks import Code
from vaetune.config import ModelConfig, Task
from vaetune.errors import UserError
from vaetune.likelihoods import Likelihood
from vaetune.noise import Noise
from vaetune.seeding import derive


@dataclass(frozen=True)
class Player:
    """Parameters that step down a loss of their own: those below the paths `modules` ("" is the whole model).

    `terms` names the method that gives the loss terms, of which "loss" is this player's; all terms of a player with a
    `name` are recorded under "name_…". It takes `steps` steps on every batch, at `rate` times the learning rate.
    """

    name: str = ""
    modules: tuple[str, ...] = ("",)
    terms: str = "terms"
    steps: int = 1
    rate: float = 1.0


@dataclass(frozen=True)
class Stage:
    """A share of the training's epochs in which these players take turns; what belongs to none of them is frozen."""

    share: float = 1.0
    players: tuple[Player, ...] = (Player(),)


def below(name: str, modules: Sequence[str]) -> bool:
    """Whether a parameter of that path belongs to one of these modules; "" is the whole model."""
    return any(not m or name == m or name.startswith(f"{m}.") for m in modules)


class Model(nn.Module, ABC):
    """A model for images of `shape` (C, H, W) in [0, 1] and labels below `classes`, written on trailing dimensions.

    `tasks` says what it can do; evaluation and report follow them. There is no training or evaluation mode:
    noise None means the posterior mean with dropout off. `stages` says who trains when; by default one player
    trains everything from "loss" of `terms`.
    """

    def __init__(
        self, config: ModelConfig, shape: tuple[int, ...], classes: int, stages: tuple[Stage, ...] = (Stage(),)
    ) -> None:
        super().__init__()
        self.config = config
        self.shape = tuple(shape)
        self.classes = classes
        self.stages = stages

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can do."""
        return self.config.tasks

    def check(self, x: Tensor, y: Tensor) -> None:
        """Raises `UserError` unless images x [..., B, C, H, W] and labels y [..., B] are of this model's kind."""
        found = tuple(x.shape[-3:])
        if found != self.shape:
            expected, got = ("x".join(map(str, shape)) for shape in (self.shape, found))
            raise UserError(f"this model was built for images of {expected} (channels, height, width), found {got}")
        wrong = y[(y < 0) | (y >= self.classes)]
        if len(wrong):
            raise UserError(f"this model was built for labels from 0 to {self.classes - 1}, found {wrong[0].item()}")

    @abstractmethod
    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        """The loss terms of images x [..., B, C, H, W] and labels y [..., B], each [..., B] in nats per example.

        "loss" is what training minimises; `penalty_scale` in [0, 1] is the warm-up of the bottleneck's penalty.
        """


class Classifier(Model):
    """A model that predicts labels through a code."""

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether noise changes a prediction."""

    @abstractmethod
    def code(self, x: Tensor, noise: Noise | None = None) -> Code:
        """q(z|x) for images [..., B, C, H, W]; noise None gives z = μ."""

    @abstractmethod
    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Class logits [..., B, classes]."""

    @abstractmethod
    def coded(self, x: Tensor) -> tuple[Tensor, Code]:
        """What `predict` and `code` give without noise, from one pass through what they share."""

    @abstractmethod
    def passes(self, x: Tensor, noise: Noise, count: int) -> Iterator[Tensor]:
        """`count` noisy predictions of the same images: what `predict` gives, without what noise does not change."""

    @abstractmethod
    def head_norm(self) -> Tensor:
        """The Frobenius norm of the μ head's weight, of shape [...]."""


class Generative(Model):
    """A model that decodes images from a latent z with prior N(0, I). What is unconditional ignores labels y."""

    latents: int
    conditional: ClassVar[bool] = False
    """Whether `code` and `decode` have to be told the labels."""
    likelihood: Likelihood

    @abstractmethod
    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        """The images that the likelihood scores: x [..., B, C, H, W], or binary draws from it."""

    @abstractmethod
    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        """q(z|x) for images [..., B, C, H, W]; noise None gives the posterior's mean."""

    @abstractmethod
    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x|z) as images [..., B, C, H, W], for latents [..., B, Z]."""

    @abstractmethod
    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x|z) [..., B] in nats per image."""

    @abstractmethod
    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        """log p(x|z) + log p(z) − log q(z|x) [..., B] of observed images at one draw of z; see `elbo.iwae`."""


def initialise(model: nn.Module, seed: int) -> None:
    """Draws every layer's parameters from a stream of its own, named by the layer's path in the model.

    So two arms that share a layer's name and shape share its initial values, whatever else they contain.
    """
    for name, module in model.named_modules():
        if hasattr(module, "initialise"):
            module.initialise(torch.Generator().manual_seed(derive(f"{seed}/{name}")))
