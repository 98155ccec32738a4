"""Routes timed in turns, A B A B, in one process: what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Rows = list[dict[str, Any]]
"""One dictionary a route: what `rows` makes."""


@dataclass
class Route:
    """One way to do a piece of work. `epoch` does it once and returns its mean loss in nats per example.

    `precision` is what `torch.set_float32_matmul_precision` is set to while it runs.
    """

    name: str
    epoch: Callable[[], float]
    precision: str = "highest"
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def run(self) -> tuple[float, float]:
        """One epoch; its CPU seconds (of all threads of this process) and wall seconds."""
        torch.set_float32_matmul_precision(self.precision)
        cpu, wall = time.process_time(), time.perf_counter()
        self.losses.append(self.epoch())
        return time.process_time() - cpu, time.perf_counter() - wall


def alternate(routes: Sequence[Route], rounds: int) -> None:
    """Every route once to warm up, then `rounds` times each, in turns; the same global random numbers each time."""
    torch.manual_seed(0)
    for route in routes:
        route.run()
    for _ in range(rounds):
        for route in routes:
            cpu, wall = route.run()
            route.cpu.append(cpu)
            route.wall.append(wall)


def rows(case: str, routes: Sequence[Route], tolerance: float) -> Rows:
    """One row a route; the first is the reference that the others are divided by.

    Medians are divided by its median, and the least by its least, which other processes disturb less.

    A row is void where the route's loss, averaged over all its epochs, differs from the reference's by more than
    `tolerance` (relative): then it did other work. Order and noise differ between routes, so equality is not asked.
    """
    cpu = statistics.median(routes[0].cpu)
    loss = statistics.fmean(routes[0].losses)
    out: Rows = []
    for route in routes:
        own = statistics.fmean(route.losses)
        off = abs(own - loss) / abs(loss)
        out.append(
            {
                "case": case,
                "route": route.name,
                "cpu_seconds": statistics.median(route.cpu),
                "wall_seconds": statistics.median(route.wall),
                "least_cpu_seconds": min(route.cpu),
                "ratio": statistics.median(route.cpu) / cpu,
                "ratio_of_least": min(route.cpu) / min(routes[0].cpu),
                "loss": own,
                "void": f"loss off by {off:.1%}, more than {tolerance:.1%}" if off > tolerance else "",
            }
        )
    return out


def void(case: str, route: str, reason: str) -> dict[str, Any]:
    """The row of a route that could not be timed."""
    return {"case": case, "route": route, "void": reason}
