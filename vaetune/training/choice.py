"""How members are trained, free of torch: how many in one stack, and by which route."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """`members` in one stack, stepped by `route`: "steps" or, on a GPU, "graph"; see `training.autotune`."""

    members: int = 5
    route: str = "steps"

    def __str__(self) -> str:
        return f"{self.members} by {self.route}"

    @classmethod
    def parse(cls, text: str) -> Choice:
        """The inverse of `str`; where machines chose differently, the first one's choice."""
        members, route = text.split(" or ")[0].split(" by ")
        return cls(int(members), route)


USUAL = Choice()
"""What is done where nothing was measured."""
