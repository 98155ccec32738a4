"""Directions in latent space along which one can move and see: the latents themselves, or principal axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Axes:
    """A orthonormal `directions` [A, Z] from `center` [Z], the most telling first, each with a name.

    `spread` [A] is the standard deviation of the posterior means along each, the unit in which one moves;
    `share` [A] its part of their whole variance. `kl` [A] in nats belongs to latents only.
    """

    names: tuple[str, ...]
    center: Tensor
    directions: Tensor
    spread: Tensor
    share: Tensor
    kl: Tensor | None = None

    @classmethod
    def latents(cls, mu: Tensor, kl: Tensor | None) -> Axes:
        """The latents of means μ [N, Z], by falling `kl` [Z] or, without it, by falling variance."""
        variance = mu.var(0)
        order = (variance if kl is None else kl).argsort(descending=True)
        return cls(
            tuple(f"z{i}" for i in order.tolist()),
            mu.mean(0),
            torch.eye(mu.shape[1], device=mu.device)[order],
            variance.sqrt()[order],
            _shares(variance)[order],
            None if kl is None else kl[order],
        )

    @classmethod
    def principal(cls, mu: Tensor) -> Axes:
        """The principal axes of μ [N, Z]; each points where its largest component is positive."""
        center = mu.mean(0)
        _, singular, directions = torch.linalg.svd(mu - center, full_matrices=False)
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        variance = singular.square() / (len(mu) - 1)
        names = tuple(f"PC{i + 1}" for i in range(len(directions)))
        return cls(names, center, directions * largest.sign(), variance.sqrt(), _shares(variance))

    def __len__(self) -> int:
        return len(self.names)

    def around(self, mu: Tensor) -> Axes:
        """The same directions from the center of other means μ [N, Z], with their spread along each."""
        center = mu.mean(0)
        return replace(self, center=center, spread=((mu - center) @ self.directions.T).std(0))

    def coordinates(self, z: Tensor) -> Tensor:
        """Where z [B, Z] lies on the axes, [B, A] in units of the latent space."""
        return (z - self.center) @ self.directions.T

    def moved(self, z: Tensor, by: Mapping[int, float | Tensor]) -> Tensor:
        """z [B, Z] (or [Z]) moved along axes, by their number, in units of their `spread`; a tensor moves each z."""
        for axis, steps in by.items():
            step = torch.as_tensor(steps, dtype=z.dtype, device=z.device)
            z = z + (step * self.spread[axis]).unsqueeze(-1) * self.directions[axis]
        return z

    def label(self, axis: int, between: str = " · ") -> str:
        """The name of an axis and what it explains, with `between` where a line may break."""
        kl = "" if self.kl is None else f", KL {self.kl[axis]:.2f} nats"
        return f"{self.names[axis]}{kl}{between}{100 * self.share[axis]:.0f} % of variance"


def _shares(variance: Tensor) -> Tensor:
    return variance / variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
