"""Parts of a model that begin with the weights of another one, not with random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaetune.errors import UserError, unknown
from vaetune.models.base import Model, below


@torch.no_grad()
def load(model: Model, weights: Mapping[str, Tensor], parts: Sequence[str], source: str) -> None:
    """Overwrites the parameters below the paths `parts` (none: all) with those of a checkpoint from `source`.

    Raises `UserError` for a part that the model does not have, and for a parameter that the checkpoint lacks or has in
    another shape.
    """
    mine = dict(model.named_parameters())
    for part in parts:
        if not any(below(name, (part,)) for name in mine):
            raise unknown("part of training.pretrained_parts:", part, sorted({name.split(".")[0] for name in mine}))
    for name, parameter in mine.items():
        if not below(name, parts or ("",)):
            continue
        if name not in weights:
            raise UserError(f"training.pretrained: {source} has no {name}; name the parts it has in pretrained_parts")
        if weights[name].shape != parameter.shape:
            found, needed = ("x".join(map(str, t.shape)) for t in (weights[name], parameter))
            raise UserError(f"training.pretrained: {name} of {source} is {found}, and this model's is {needed}")
        parameter.copy_(weights[name])
