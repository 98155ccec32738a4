"""Ends a worker that makes no progress: a hang in compiled code can be ended by nothing gentler."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

EXIT = 75
"""The exit code of a worker that was ended (EX_TEMPFAIL: it may go better elsewhere)."""


def _exit() -> None:
    faulthandler.dump_traceback(file=sys.stderr)
    os._exit(EXIT)


class Watchdog:
    """Runs `end`, in a thread of its own, once `limit` seconds have passed since a beat that no rest followed."""

    def __init__(self, limit: float, end: Callable[[], None] = _exit) -> None:
        self._limit, self._end = limit, end
        self._last: float | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, daemon=True, name="vaetune-watchdog").start()

    def beat(self) -> None:
        """There was progress, or work begins."""
        with self._changed:
            self._last = time.monotonic()
            self._changed.notify()

    def rest(self) -> None:
        """The work is done for now; the time until the next beat does not count."""
        with self._changed:
            self._last = None
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                if self._last is None:
                    self._changed.wait()
                    continue
                left = self._last + self._limit - time.monotonic()
                if left <= 0:
                    self._end()
                    self._last = None
                else:
                    self._changed.wait(left)
