"""Averages of the weights over the steps of training, which are scored in the place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving averages of a stack's parameters with a `decay` a step; 0 keeps none.

    They begin at zero and are corrected for it when they are read (Kingma & Ba 2015, §3).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._sums = [torch.zeros_like(p) for p in model.parameters()] if decay else []
        self._bind(model)

    def _bind(self, model: nn.Module) -> None:
        self._names = [name for name, _ in model.named_parameters()]
        self._live = [p.detach() for p in model.parameters()]

    def follow(self) -> None:
        """Takes in the parameters as they are after a step."""
        if self._sums:
            torch._foreach_lerp_(self._sums, self._live, 1 - self.decay)

    @contextmanager
    def lent(self, model: nn.Module, steps: int) -> Iterator[None]:
        """Within, the model has the averages of `steps` steps for its weights, if there are any."""
        if not self._sums:
            yield
            return
        live = [p.data for p in model.parameters()]
        debias = 1 - self.decay**steps
        for p, average in zip(model.parameters(), self._sums, strict=True):
            p.data = average / debias
        try:
            yield
        finally:
            for p, data in zip(model.parameters(), live, strict=True):
                p.data = data

    def keep(self, model: nn.Module, members: Tensor) -> None:
        """Follows `members.keep`: the stack's parameters are new tensors, and only those members are left."""
        self._sums = [average[members] for average in self._sums]
        self._bind(model)

    def state(self, member: int) -> dict[str, Tensor]:
        """One member's averages by name, for a checkpoint."""
        return {f"ema.{name}": average[member].clone() for name, average in zip(self._names, self._sums, strict=False)}

    def load(self, member: int, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for name, average in zip(self._names, self._sums, strict=False):
            average[member].copy_(state[f"ema.{name}"])
