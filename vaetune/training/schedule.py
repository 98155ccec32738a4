"""The learning rate of every epoch, one a member: steps, a cosine, or steps whenever validation stands still."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaetune.config import TrainingConfig


@dataclass
class Plateau:
    """What a member's plateau schedule remembers: its factor, its best score, the epochs since then."""

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0


class Schedule:
    """A factor on each member's learning rate; the three forms are those of `TrainingConfig.schedule`."""

    def __init__(self, training: TrainingConfig, members: int) -> None:
        self.training = training
        self.plateaus = [Plateau() for _ in range(members)]

    def factors(self, epoch: int) -> list[float]:
        """The factors of `epoch`, from 0."""
        t = self.training
        if t.schedule == "cosine":
            # Loshchilov & Hutter (2017), eq. 5, one period to the rate 0 just after the last epoch.
            return [0.5 * (1 + math.cos(math.pi * epoch / t.epochs))] * len(self.plateaus)
        if t.schedule == "plateau":
            return [plateau.factor for plateau in self.plateaus]
        return [t.learning_rate_decay ** (epoch // t.decay_every)] * len(self.plateaus)

    def see(self, member: int, score: float) -> None:
        """Takes in a member's validation score (less is better) of the epoch that has just ended."""
        plateau = self.plateaus[member]
        if score < plateau.best:
            plateau.best, plateau.waited = score, 0
            return
        plateau.waited += 1
        if plateau.waited >= self.training.decay_every:
            plateau.factor *= self.training.learning_rate_decay
            plateau.waited = 0

    def keep(self, members: Sequence[int]) -> None:
        """Drops all members but those."""
        self.plateaus = [self.plateaus[r] for r in members]

    def state(self, member: int) -> dict[str, Any]:
        """What a member needs to go on, as plain numbers."""
        plateau = self.plateaus[member]
        best = plateau.best if math.isfinite(plateau.best) else None  # JSON has no infinity
        return {"factor": plateau.factor, "best": best, "waited": plateau.waited}

    def load(self, member: int, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        best = math.inf if state["best"] is None else state["best"]
        self.plateaus[member] = Plateau(state["factor"], best, state["waited"])
