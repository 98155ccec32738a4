"""The phases that train and measure: connects Ray and the tracker, then runs one stage after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING

from vaetune.datasets.base import Dataset
from vaetune.storage import Storage
from vaetune.study import cluster, health, nodes
from vaetune.study.board import Board
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.options import Options
from vaetune.study.patience import Patience
from vaetune.study.tracked import Tracked, beside
from vaetune.tables import Tables
from vaetune.tracking import backup

if TYPE_CHECKING:
    from vaetune.study.stages import Stages

Soft = Callable[[], AbstractContextManager[Callable[[], bool]]]


def train(
    phases: Sequence[str], options: Options, ex: Execution, dataset: Dataset, console: Console, soft: Soft
) -> None:
    """Runs `phases` on Ray, tracked; `soft` is the context in which a signal only sets a flag."""
    tracked = Tracked(options, ex, console)
    tracker = tracked.tracker
    tracker.start()
    outcome = "failed"
    try:
        # PyTorch is read while Ray's servers start, which keeps this process waiting just as long.
        ahead = ThreadPoolExecutor(1).submit(import_module, "torch")
        with cluster.connected(options.address, ex.study) as slots:
            ahead.result()
            from vaetune.study import pretrained
            from vaetune.study.stages import Stages

            tracker.check()
            with health.explained(), soft() as interrupted, nodes.watched(tracker, ex.run, _began_ms(ex)):
                ex.storage = ex.storage.patient(Patience(console.note, interrupted))
                ex.tables = Tables(ex.storage)
                board = Board(beside(ex) / "tensorboard" if options.tensorboard else None)
                stages = Stages(
                    *(ex, dataset, options.seed, options.reproducible, slots, not options.address),
                    *(tracker, board, console, interrupted),
                )
                pretrained.fetch(ex.study, ex.storage, options.tracking_uri)
                for name, work in _work(phases, stages, options):
                    started = time.monotonic()
                    work()
                    tracker.flush(timeout=10)
                    tracked.write()
                    backup.copy(options.tracking_uri, Storage(options.storage))
                    ex.write_environment(wall_seconds={name: round(time.monotonic() - started, 1)})
                    if interrupted():
                        break
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "stopped"
        raise
    finally:
        tracker.close(outcome, timeout=10 if outcome == "stopped" else 60)
        tracked.write()


def _work(phases: Sequence[str], stages: Stages, options: Options) -> list[tuple[str, Callable[[], None]]]:
    training = [phase for phase in phases if phase != "evaluate"]
    work: list[tuple[str, Callable[[], None]]] = []
    if training:
        work.append((" · ".join(training), lambda: stages.train(training)))
    if "evaluate" in phases:
        work.append(("evaluate", stages.evaluate))
        if options.battery == "full":
            work.append(("battery", lambda: stages.battery(options.data_root)))
    return work


def _began_ms(ex: Execution) -> int:
    return int(datetime.fromisoformat(ex.environment["started"]).timestamp() * 1000)
