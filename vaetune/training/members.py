"""R models of one architecture as one stacked model: every parameter and buffer gains a leading dimension R."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from vaetune.models.base import Model

M = TypeVar("M", bound=nn.Module)


def stack(models: Sequence[M]) -> M:
    """One model whose parameters and buffers are those of `models`, stacked; raises ValueError where shapes differ."""
    stacked = copy.deepcopy(models[0])
    others = [dict(_tensors(model)) for model in models]
    names = [set(tensors) for tensors in others]
    if any(n != names[0] for n in names):
        raise ValueError("members of one group must have the same parameters")
    for name in others[0]:
        _set(stacked, name, torch.stack([tensors[name].detach() for tensors in others]))
    return stacked


def unstack(stacked: Model, member: int, model: M) -> M:
    """`model`, a freshly built one, with the parameters and buffers of one member of the stack."""
    tensors = dict(_tensors(stacked))
    for name, _ in list(_tensors(model)):
        _set(model, name, tensors[name][member].detach().clone())
    return model


def keep(stacked: nn.Module, members: Sequence[int]) -> None:
    """Drops all members but those, in place: who has stopped costs nothing any more."""
    index = torch.tensor(members)
    for name, tensor in list(_tensors(stacked)):
        _set(stacked, name, tensor.detach()[index.to(tensor.device)])


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _set(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        setattr(module, leaf, nn.Parameter(value.contiguous()))
    else:
        module.register_buffer(leaf, value, persistent=leaf not in module._non_persistent_buffers_set)
