"""Asynchronous successive halving in its stopping form, for one arm (Li et al. 2020, MLSys, arXiv 1810.05934)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Score = tuple[float, ...]
"""Smaller is better; the objective first, then what breaks ties."""


@dataclass
class Rungs:
    """At epochs grace · reductionᵏ a trial goes on if it is among the best ⌈n / reduction⌉ of the n seen there.

    Ties go on. A trial's last epoch is no rung: its score there is its result.
    """

    grace: int
    reduction: int
    scores: dict[int, dict[str, Score]] = field(default_factory=dict)

    def levels(self, length: int) -> list[int]:
        """The rungs of a trial of `length` epochs."""
        out, epoch = [], self.grace
        while epoch < length:
            out.append(epoch)
            epoch *= self.reduction
        return out

    def report(self, trial_id: str, epoch: int, score: Score) -> bool:
        """Records a score at a rung; whether the trial would go on."""
        rung = self.scores.setdefault(epoch, {})
        rung[trial_id] = score
        better = sum(other < score for other in rung.values())
        return better < math.ceil(len(rung) / self.reduction)
