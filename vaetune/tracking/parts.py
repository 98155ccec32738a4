"""What of a model is logged: a classifier, an encoder, a decoder, each a module from tensors to one tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.decoding import Decoding, coded, decoded, decodes


class Classify(nn.Module):
    """Images [B, C, H, W] in [0, 1] to class probabilities [B, classes], at the posterior mean."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.predict(x).softmax(-1)


class Encode(nn.Module):
    """Images [B, C, H, W] in [0, 1], and labels [B] where the model is conditional, to posterior means [B, Z]."""

    def __init__(self, model: Classifier | Generative) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return coded(self.model, x, y).mu


class Decode(nn.Module):
    """Latents [B, Z], and labels [B] where the model is conditional, to the means of p(x|z), images [B, C, H, W]."""

    def __init__(self, model: Decoding) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return decoded(self.model, z, y)


@dataclass(frozen=True)
class Part:
    """One module, and what it takes by name, a batch of more than one example of each."""

    module: nn.Module
    examples: dict[str, Tensor]


@torch.no_grad()
def parts(model: Model, images: Tensor, labels: Tensor) -> dict[str, Part]:
    """The parts that this model has, by name.

    `images` [B, C, H, W] in [0, 1] and `labels` int64 [B], B > 1, become the examples.
    """
    found: dict[str, Part] = {}
    told = {"y": labels} if isinstance(model, Generative) and model.conditional else {}
    if isinstance(model, Classifier):
        found["classifier"] = Part(Classify(model), {"x": images})
    if isinstance(model, Classifier | Generative):
        found["encoder"] = Part(Encode(model), {"x": images, **told})
    if decodes(model):
        found["decoder"] = Part(Decode(model), {"z": coded(model, images, labels).z, **told})
    return found
