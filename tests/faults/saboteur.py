"""The driver of a study that kills itself with SIGKILL: `saboteur.py PHASE+STEPS LOG argument…`.

A step is anything that a driver does to its storage (before and after each fsync, rename and removal) and each result
that it takes in, so that kills fall between any two of them. They are counted from the phase's beginning, or from the
driver's own for "+STEPS"; "+0" only counts. LOG gets a line with the steps of a driver that ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Steps:
    """Counts down to the kill; 0 counts only."""

    def __init__(self, kill_at: int, phase: str = "") -> None:
        self.kill_at, self.phase, self.taken, self.counts = kill_at, phase, 0, not phase

    def begins(self, phase: str) -> None:
        """A phase begins, or goes on."""
        self.counts = self.counts or phase == self.phase

    def step(self) -> None:
        self.taken += self.counts
        if self.counts and self.taken == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any], phase: Callable[..., str] = lambda *_, **__: "") -> Any:
        """The function with a step before and one after it, and perhaps a phase that begins with it."""

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.begins(phase(*arguments, **named))
            self.step()
            result = function(*arguments, **named)
            self.step()
            return result

        return stepping

    def install(self) -> None:
        """Puts steps around what a driver does."""
        from vaetune.study.aside import Aside
        from vaetune.study.console import Console
        from vaetune.study.recorder import Recorder

        os.fsync, os.replace = self.around(os.fsync), self.around(os.replace)
        os.unlink, shutil.rmtree = self.around(os.unlink), self.around(shutil.rmtree)
        for name in ("epochs", "end", "flush"):
            setattr(Recorder, name, self.around(getattr(Recorder, name)))
        Recorder.begin = self.around(Recorder.begin, lambda _, entry: str(entry.phase))  # type: ignore[method-assign]
        Aside.__init__ = self.around(Aside.__init__, lambda *_: "report")  # type: ignore[method-assign]
        Aside.wait = self.around(Aside.wait)  # type: ignore[method-assign]
        Console.phase = self.around(Console.phase, lambda _, name, *__: str(name))  # type: ignore[method-assign]


if __name__ == "__main__":
    from vaetune.study.__main__ import main

    phase, _, number = sys.argv[1].partition("+")
    steps = Steps(int(number), phase)
    steps.install()
    code = main(sys.argv[3:])
    with Path(sys.argv[2]).open("a") as log:
        log.write(f"{steps.taken} {code}\n")
    sys.exit(code)
