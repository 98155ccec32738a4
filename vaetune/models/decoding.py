"""Which models decode, and how models of every kind encode and decode: what evaluation, pictures and tracking ask."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor

from vaetune.bottlenecks import Code
from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.supervised_vae import SupervisedVAE

Decoding = Generative | SupervisedVAE


def decodes(model: Model) -> TypeGuard[Decoding]:
    """Whether the model has a decoder."""
    return isinstance(model, Generative) or (isinstance(model, SupervisedVAE) and model.config.decoder is not None)


def coded(model: Classifier | Generative, x: Tensor, y: Tensor | None) -> Code:
    """q(z|x) without noise, for images [B, C, H, W]; labels y [B] are for conditional models."""
    return model.code(x, None, y) if isinstance(model, Generative) else model.code(x)


def decoded(model: Decoding, z: Tensor, y: Tensor | None) -> Tensor:
    """The mean of p(x|z) as images [B, C, H, W], for latents [B, Z]; labels y [B] are for conditional models."""
    if isinstance(model, Generative):
        return model.decode(z, y)
    return model.decode(z).sigmoid().reshape(-1, *model.shape)
