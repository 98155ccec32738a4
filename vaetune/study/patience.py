"""What to do when the storage is full or away: wait and try again, say so once, then give up in order."""

from __future__ import annotations

import time
from collections.abc import Callable

from vaetune.errors import UserError

LIMIT = 300.0
"""Seconds for which a storage that refuses is tried again."""


class Patience:
    """Runs writes, each again while it raises OSError, for `limit` seconds at most; then raises `UserError`.

    `say` gets a line when the waiting begins and one when it ends well; `give_up` ends it early. Once it has been in
    vain, later writes are tried a single time, so that the study stops soon.
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

    def __call__(self, write: Callable[[], None]) -> None:
        """Runs the write."""
        begun, pause, waiting = self._clock(), 1.0, False
        while True:
            try:
                write()
            except OSError as error:
                if self._give_up() or self._clock() - begun >= self._limit:
                    self._limit = 0.0
                    raise UserError(f"results cannot be written: {error}") from error
                if not waiting:
                    self._say(f"results cannot be written: {error}; waiting, {self._limit:.0f} s at most")
                    waiting = True
                self._sleep(pause)
                pause = min(2 * pause, 15.0)
            else:
                if waiting:
                    self._say("results are written again")
                return
