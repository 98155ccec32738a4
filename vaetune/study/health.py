"""Whether Ray can still do anything: asked while the driver waits, so that it does not wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from vaetune.errors import UserError
from vaetune.study import Resources

STARTED_HERE, ELSEWHERE = 300.0, 1800.0
"""Seconds within which a worker has to start: on this machine, and on a cluster, which may have to grow for it."""

_VITAL = ("raylet", "gcs_server")


def limit(here: bool) -> float:
    """The one of the two that holds for workers `here`, or anywhere."""
    return STARTED_HERE if here else ELSEWHERE


class Lost(UserError):
    """Ray has died, or its workers do not start. Nothing is lost but the time since the last checkpoints."""


def check() -> None:
    """Raises `Lost` where a server of the Ray that was started here has died.

    Ray itself notices after some 15 seconds, and then ends the process of the driver without a word.
    """
    node: Any = ray._private.worker._global_node  # None where there is no Ray; of a cluster's it knows no processes
    dead: list[str] = [kind for kind, _ in node.dead_processes() if kind in _VITAL] if node else []
    if dead:
        raise Lost(f"Ray's {dead[0]} has died")


@contextmanager
def explained() -> Iterator[None]:
    """Within, whatever Ray raises because one of its servers has died is raised as `Lost`."""
    try:
        yield
    except (ConnectionError, ray.exceptions.RayError) as error:
        try:
            check()
        except Lost as lost:
            raise lost from error
        raise


class Waiting:
    """Raises `Lost` once nothing has worked for `limit` seconds although something should."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock, self._since = limit, clock, clock()

    def look(self, works: bool) -> None:
        """Tells whether anything works just now."""
        if works:
            self._since = self._clock()
        elif self._clock() - self._since > self._limit:
            raise Lost(f"no worker has started within {self._limit:.0f} s: is the machine overloaded?")


def tasks(
    function: Callable[..., Any],
    calls: Sequence[Sequence[Any]],
    resources: Resources,
    interrupted: Callable[[], bool],
    limit: float,
) -> Iterator[Any]:
    """Calls `function` on Ray with each of the argument lists; yields results as they come, until `interrupted`.

    Raises `Lost` where Ray dies or no worker starts within `limit` seconds.
    """
    placed: Any = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=2)
    waiting, works, task = Waiting(limit), False, placed(function)
    pending = [placed(_nothing).remote(), *(task.remote(*arguments) for arguments in calls)]
    while pending and not interrupted():
        done, pending = ray.wait(pending, num_returns=1, timeout=1.0)
        check()
        works = works or bool(done)
        waiting.look(works)
        for reference in done:
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError:  # what the function itself has raised
                raise
            except ray.exceptions.RayError as error:
                raise Lost(f"Ray lost a task: {str(error).splitlines()[0]}") from error
            if result is not None:
                yield result


def _nothing() -> None:
    """Shows that workers start."""
