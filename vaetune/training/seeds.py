"""What a member is, free of torch: its name, its configuration and its random streams."""

from __future__ import annotations

from dataclasses import dataclass

from vaetune.config import Configuration


@dataclass(frozen=True)
class Seeds:
    """The streams of one member; each epoch's order and noise are derived from these and the epoch's number."""

    split: int
    labels: int
    initial: int
    order: int
    noise: int


@dataclass(frozen=True)
class Member:
    """One trial or replicate: what it is called, what is trained, from which seeds.

    `fold` 1 validates on the second fold of its split, see `vaetune.datasets.folds`.
    """

    id: str
    arm: str
    configuration: Configuration
    seeds: Seeds
    fold: int = 0
