"""A driver whose cluster is its own process, forked: many of them in the time that Ray takes to start.

As a script, `alone.py STORAGE OFFSET`, one that tells libfaketime in the file OFFSET by how much the clock is off.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from bench import STUDY
from saboteur import Steps
from worker import train_here

from vaetune import checkpoints
from vaetune.datasets import open_dataset
from vaetune.study import evaluate, execution, runner, stages, trainable, tuning
from vaetune.study.board import Board
from vaetune.study.console import Console
from vaetune.study.load import load
from vaetune.study.options import Options
from vaetune.study.recorder import Entry, Recorder
from vaetune.tracking import Tracker
from vaetune.training.environment import ENVIRONMENT

# As in every worker, and before the first product: MKL reads then whether last bits may depend on an operand's address.
os.environ.update(ENVIRONMENT)


def measure_here(members: Sequence[Any], development: Any, test: Any, *rest: Any) -> Iterator[list[Any]]:
    """Two replicates a chunk."""
    storage, classes, replication, temperatures, _, known, *_ = rest
    for i in range(0, len(members), 2):
        shared = (development, test, storage, classes, replication, temperatures, known)
        yield evaluate._measure(members[i : i + 2], *shared)


class Deaf:
    """A tracker and a console of nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Forked:
    """Runs drivers, each in a process of its own."""

    def __init__(self) -> None:
        self._loaded = load(str(STUDY))
        self._study = self._loaded.preset("default")
        self._data = open_dataset(self._study.dataset.name)

    def __call__(self, storage: Path, kill_at: int, partial: int = 0) -> int:
        """A driver that dies at that step, or when a member's `partial`-th checkpoint is due; its steps, or 0."""
        count = storage.with_suffix(".steps")
        child = os.fork()
        if not child:
            try:
                self._drive(storage, kill_at, partial, count)
            finally:
                if sys.exc_info()[0]:
                    sys.excepthook(*sys.exc_info())
                os._exit(1 if sys.exc_info()[0] else 0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"exit code {status}"
        return 0 if status else int(count.read_text())

    def _drive(self, storage: Path, kill_at: int, partial: int, count: Path) -> None:
        """What a driver does, up to its death."""
        steps = Steps(kill_at)
        steps.install()
        if partial:
            _die_with(partial)
        tuning.run, stages.evaluate.evaluate = train_here, measure_here  # type: ignore[assignment]
        info = runner.dataset_info(self._study, self._data)
        options = Options(storage=str(storage), reproducible=True)
        left = execution.unfinished(self._loaded, self._study, options, info)
        opened = execution.reopen if left else execution.create
        options = Options(storage=str(storage), reproducible=True, resume=left)
        ex = opened(self._loaded, self._study, options, info)
        tracker, console = cast(Tracker, Deaf()), cast(Console, Deaf())
        work = stages.Stages(
            *(ex, self._data, 0, True, 1, True),
            *(tracker, Board(None), console, lambda: False),
        )
        work.train(["search", "select", "replicate"])
        work.evaluate()
        count.write_text(str(steps.taken))


def _die_with(partial: int) -> None:
    """Checkpoints are written every epoch, and before the n-th of one member the process dies."""
    trainable.REPORT_EVERY = trainable.CHECKPOINT_EVERY = 0.0
    save, seen = checkpoints.save_partial, dict[str, int]()

    def dying(storage: Any, member_id: str, checkpoint: Any) -> None:
        seen[member_id] = seen.get(member_id, 0) + 1
        if seen[member_id] == partial:
            os.kill(os.getpid(), signal.SIGKILL)
        save(storage, member_id, checkpoint)

    checkpoints.save_partial = dying


def _jump(offset: Path) -> None:
    """SELECT is a day ahead, REPLICATE a day behind."""
    begin = Recorder.begin

    def jumping(self: Recorder, entry: Entry) -> None:
        offset.write_text({"search": "+0d", "select": "+1d", "replicate": "-1d"}[entry.phase] + "\n")
        begin(self, entry)

    Recorder.begin = jumping  # type: ignore[method-assign]


if __name__ == "__main__":
    _jump(Path(sys.argv[2]))
    Forked()(Path(sys.argv[1]), 0)
