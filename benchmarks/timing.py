"""Routes timed in turns, A B A B, each in a process of its own: what else the machine does falls on all alike."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch

Rows = list[dict[str, Any]]
"""One dictionary a route: what `rows` makes."""


@dataclass
class Route:
    """One way to do a piece of work. `epoch` does it once and returns its mean loss in nats per example.

    `prepare` is called first in the route's process: what it sets there, of torch or of the memory, is the route's own.
    """

    name: str
    epoch: Callable[[], float]
    prepare: Callable[[], object] = lambda: None
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def alternate(routes: Sequence[Route], rounds: int) -> None:
    """Every route once to warm up, then `rounds` times each, in turns; the same global random numbers each time."""
    with ExitStack() as stack:
        turns = [stack.enter_context(_Turns(route)) for route in routes]
        for route, turn in zip(routes, turns, strict=True):
            route.losses.append(turn.take()[2])
        for _ in range(rounds):
            for route, turn in zip(routes, turns, strict=True):
                cpu, wall, loss = turn.take()
                route.cpu.append(cpu)
                route.wall.append(wall)
                route.losses.append(loss)


class _Turns:
    """A route's process: a fork, so that it begins with all that was made here, and nothing of another's."""

    def __init__(self, route: Route) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, self._there = context.Pipe()
        self._process = context.Process(target=_serve, args=(route, self._there), daemon=True)

    def __enter__(self) -> _Turns:
        self._process.start()
        self._there.close()  # so that this end hears when the process ends
        return self

    def take(self) -> tuple[float, float, float]:
        """One epoch: CPU seconds of all threads, wall seconds, loss."""
        self._pipe.send(True)
        try:
            taken: tuple[float, float, float] = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"a route ended with {self._process.exitcode}: its traceback is above") from None
        return taken

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._pipe.close()


def _serve(route: Route, pipe: Connection) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # OpenMP's other threads do not survive a fork
    torch.set_float32_matmul_precision("highest")  # torch's default, whatever was tried out here before
    route.prepare()
    while pipe.recv():
        cpu, wall = time.process_time(), time.perf_counter()
        loss = route.epoch()
        pipe.send((time.process_time() - cpu, time.perf_counter() - wall, loss))


def rows(case: str, routes: Sequence[Route], tolerance: float) -> Rows:
    """One row a route; the first is the reference that the others are divided by.

    Medians are divided by its median, and the least by its least, which other processes disturb less.

    A row is void where the route's loss, averaged over the later half of its epochs, differs from the reference's by
    more than `tolerance` (relative): then it did other work. Order and noise differ between routes, and with them the
    first epochs, in which the loss falls steeply, so equality is not asked.
    """
    cpu = statistics.median(routes[0].cpu)
    loss = _later(routes[0].losses)
    out: Rows = []
    for route in routes:
        own = _later(route.losses)
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


def _later(losses: Sequence[float]) -> float:
    return statistics.fmean(losses[len(losses) // 2 :])


def void(case: str, route: str, reason: str) -> dict[str, Any]:
    """The row of a route that could not be timed."""
    return {"case": case, "route": route, "void": reason}
