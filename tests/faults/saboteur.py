"""The driver of a study that kills itself with SIGKILL at its n-th step: `saboteur.py STEPS LOG argument…`.

A step is anything that a driver does to its storage (before and after each fsync, rename and removal) and each result
that it takes in, so that kills fall between any two of them. LOG gets a line with the steps of a driver that ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaetune.study.__main__ import main


class Steps:
    """Counts down to the kill; 0 counts only."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at, self.taken = kill_at, 0

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = function(*arguments, **named)
            self.step()
            return result

        return stepping


if __name__ == "__main__":
    steps = Steps(int(sys.argv[1]))
    os.fsync, os.replace = steps.around(os.fsync), steps.around(os.replace)
    os.unlink, shutil.rmtree = steps.around(os.unlink), steps.around(shutil.rmtree)
    from vaetune.study.recorder import Recorder

    Recorder.epochs = steps.around(Recorder.epochs)  # type: ignore[method-assign]
    Recorder.end = steps.around(Recorder.end)  # type: ignore[method-assign]
    code = main(sys.argv[3:])
    with Path(sys.argv[2]).open("a") as log:
        log.write(f"{steps.taken} {code}\n")
    sys.exit(code)
