"""Who steps when: the players of a stage, each with its own parameters and optimizer, in turn on every batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from vaetune.config import TrainingConfig
from vaetune.models.base import Model, Player, Stage, below
from vaetune.training.adam import Adam


class Turns:
    """The optimizers of one stage. A stage begins with fresh moments; what it does not train has no gradients."""

    def __init__(self, model: Model, stage: Stage, training: TrainingConfig, weight_decay: Sequence[float]) -> None:
        self.stage = stage
        self.adams = [
            Adam(model, training.beta1, training.beta2, weight_decay, player.modules) for player in stage.players
        ]

    def __iter__(self) -> Iterator[tuple[Player, Adam]]:
        """Every step of one batch in turn: whose it is, and the optimizer that takes it."""
        for player, adam in zip(self.stage.players, self.adams, strict=True):
            for _ in range(player.steps):
                yield player, adam

    @property
    def plays(self) -> int:
        """How many steps are taken on every batch."""
        return sum(player.steps for player in self.stage.players)

    def give(self, model: Model, player: Player | None = None) -> None:
        """Gradients to the parameters of `player` alone, or of all players (for a stage in which only one plays)."""
        modules = [m for p in ([player] if player else self.stage.players) for m in p.modules]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(below(name, modules))

    @property
    def alone(self) -> bool:
        """Whether the stage has one player, so that gradients never change hands."""
        return len(self.stage.players) == 1

    def keep(self, model: Model, members: Sequence[int]) -> None:
        """Follows `members.keep`."""
        for adam in self.adams:
            adam.keep(model, members)

    def state(self, member: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """One member's moments by name, and the steps that each player has taken."""
        moments = [adam.state(member) for adam in self.adams]
        return {"steps": [adam.steps for adam in self.adams]}, {n: t for part in moments for n, t in part.items()}

    def load(self, member: int, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for adam, steps in zip(self.adams, numbers["steps"], strict=True):
            adam.load(member, tensors, steps)


def current(stages: Sequence[Stage], epoch: int, epochs: int) -> int:
    """The stage that trains in `epoch` (from 0) of `epochs`; every stage gets at least one if there are enough."""
    ends, total = [], 0.0
    for i, stage in enumerate(stages):
        total += stage.share
        latest = epochs - (len(stages) - 1 - i)
        ends.append(max(i + 1, min(round(total * epochs), latest)))
    return next((i for i, end in enumerate(ends) if epoch < end), len(stages) - 1)
