"""What to do when the storage is full or away: wait and try again, say so once, then give up in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from vaetune.errors import UserError

T = TypeVar("T")

LIMIT = 300.0
"""Seconds for which a storage that refuses is tried again."""

PAUSE = 5.0
"""The longest pause between two tries, in seconds: a signal is answered no later."""


class GaveUp(UserError):
    """The storage was waited for in vain; nothing is lost but the time since the last checkpoints."""


class Patience:
    """Runs operations, each again while it raises OSError, for `limit` seconds at most; then raises `GaveUp`.

    A missing file is an answer and is raised at once. `say` gets a line when the waiting begins and one when it ends
    well; `give_up` ends it early. Once it has been in vain, later operations are tried a single time, so that the
    study stops soon.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        give_up: Callable[[], bool],
        limit: float = LIMIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._say, self._give_up, self._clock, self._sleep = say, give_up, clock, sleep
        self._limit = limit

    def __call__(self, action: Callable[[], T], /) -> T:
        """The operation's result."""
        begun, pause, waiting = self._clock(), 1.0, False
        while True:
            try:
                result = action()
            except FileNotFoundError:
                raise
            except OSError as error:
                if self._give_up() or self._clock() - begun >= self._limit:
                    self._limit = 0.0
                    raise GaveUp(f"the storage fails: {error}") from error
                if not waiting:
                    self._say(f"the storage fails: {error}; trying again, for {self._limit:.0f} s at most")
                    waiting = True
                self._sleep(pause)
                pause = min(2 * pause, PAUSE)
            else:
                if waiting:
                    self._say("the storage works again")
                return result
