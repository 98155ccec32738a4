"""The random numbers of a forward pass, handed in from outside: a pass is a function of (parameters, batch, noise)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Noise:
    """Standard draws: from one generator in the shape asked for, from R generators (R stacked members) as [R, *shape].

    Every member reads its own generator in the order of the forward pass, so that its numbers do not depend on
    who trains beside it.
    """

    def __init__(self, generators: torch.Generator | Sequence[torch.Generator]) -> None:
        self.generators = generators

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draws of N(0, 1)."""
        if isinstance(self.generators, torch.Generator):
            return torch.randn(tuple(shape), generator=self.generators, device=self.generators.device)
        out = torch.empty((len(self.generators), *shape), device=self.generators[0].device)
        for member, generator in zip(out, self.generators, strict=True):
            member.normal_(generator=generator)
        return out

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Draws of U[0, 1)."""
        if isinstance(self.generators, torch.Generator):
            return torch.rand(tuple(shape), generator=self.generators, device=self.generators.device)
        out = torch.empty((len(self.generators), *shape), device=self.generators[0].device)
        for member, generator in zip(out, self.generators, strict=True):
            member.uniform_(generator=generator)
        return out
