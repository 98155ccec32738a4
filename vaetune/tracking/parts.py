"""What of a model is logged: a classifier, an encoder, a decoder, each a module of one tensor in and one out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.supervised_vae import SupervisedVAE

Decoding = Generative | SupervisedVAE


class Classify(nn.Module):
    """Images [B, C, H, W] in [0, 1] to class probabilities [B, classes], at the posterior mean."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.predict(x).softmax(-1)


class Encode(nn.Module):
    """Images [B, C, H, W] in [0, 1] to posterior means [B, Z]."""

    def __init__(self, model: Classifier | Generative) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.code(x).mu


class Decode(nn.Module):
    """Latents [B, Z] to the means of p(x|z), images [B, C, H, W]."""

    def __init__(self, model: Decoding) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Tensor:
        return decoded(self.model, z)


@dataclass(frozen=True)
class Part:
    """One module, and a batch of more than one example of what it takes."""

    module: nn.Module
    example: Tensor


@torch.no_grad()
def parts(model: Model, images: Tensor) -> dict[str, Part]:
    """The parts that this model has, by name; `images` [B, C, H, W] in [0, 1], B > 1, become the examples."""
    found: dict[str, Part] = {}
    if isinstance(model, Classifier):
        found["classifier"] = Part(Classify(model), images)
    if isinstance(model, Classifier | Generative):
        found["encoder"] = Part(Encode(model), images)
    if decodes(model):
        found["decoder"] = Part(Decode(model), model.code(images).z)
    return found


def decodes(model: Model) -> TypeGuard[Decoding]:
    """Whether the model has a decoder."""
    return isinstance(model, Generative) or (isinstance(model, SupervisedVAE) and model.config.decoder is not None)


def decoded(model: Decoding, z: Tensor) -> Tensor:
    """The mean of p(x|z) as images [B, C, H, W], for latents [B, Z]."""
    if isinstance(model, Generative):
        return model.decode(z)
    return model.decode(z).sigmoid().reshape(len(z), *model.shape)
