"""The phases that train and measure: connects Ray and the tracker, then runs one stage after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from vaetune.datasets.base import Dataset
from vaetune.storage import Storage
from vaetune.study import cluster
from vaetune.study.board import Board
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.options import Options
from vaetune.study.stages import Stages
from vaetune.tracking import Tracker, about, backup, links

Soft = Callable[[], AbstractContextManager[Callable[[], bool]]]


def train(
    phases: Sequence[str], options: Options, ex: Execution, dataset: Dataset, console: Console, soft: Soft
) -> None:
    """Runs `phases` on Ray, tracked; `soft` is the context in which a signal only sets a flag."""
    resources = {"CPU": ex.study.resources.cpus, "GPU": ex.study.resources.gpus}
    runs: list[dict[str, str]] = []
    tracker = _tracker(options, ex, console, runs)
    tracker.start()
    outcome = "failed"
    try:
        with cluster.connected(options.address, resources) as slots:
            tracker.check()
            with soft() as interrupted:
                board = Board(_beside(ex) / "tensorboard" if options.tensorboard else None)
                stages = Stages(
                    ex, dataset, options.seed, options.reproducible, slots, tracker, board, console, interrupted
                )
                for name, work in _work(phases, stages):
                    started = time.monotonic()
                    work()
                    tracker.flush(timeout=10)
                    _write_runs(ex, runs)
                    backup.copy(options.tracking_uri, Storage(options.storage))
                    ex.write_environment(wall_seconds={name: round(time.monotonic() - started, 1)})
                    if interrupted():
                        break
        outcome = "finished"
        if options.tracking_uri:
            for title, url in links(options.tracking_uri, tracker.experiment_id).items():
                console.note(f"{title}: {url}")
    except KeyboardInterrupt:
        outcome = "stopped"
        raise
    finally:
        tracker.close(outcome, timeout=10 if outcome == "stopped" else 60)
        _write_runs(ex, runs)


def _work(phases: Sequence[str], stages: Stages) -> list[tuple[str, Callable[[], None]]]:
    training = [phase for phase in phases if phase != "evaluate"]
    work: list[tuple[str, Callable[[], None]]] = []
    if training:
        work.append((" · ".join(training), lambda: stages.train(training)))
    if "evaluate" in phases:
        work.append(("evaluate", stages.evaluate))
    return work


def _tracker(options: Options, ex: Execution, console: Console, runs: list[dict[str, str]]) -> Tracker:
    record = _record(ex)
    runs_before = ex.tables.read("runs")
    known = dict(zip(runs_before["own_id"], runs_before["run_id"], strict=True))
    git = ex.environment["git"]

    def on_run(own_id: str, run_id: str, experiment_id: str) -> None:
        runs.append({"own_id": own_id, "run_id": run_id, "experiment_id": experiment_id})

    return Tracker(
        options.tracking_uri,
        spool=_beside(ex) / "tracking",
        experiment=ex.study.name,
        run=ex.run,
        say=console.note,
        on_run=on_run,
        about=about(record),
        tags={"vaetune.preset": options.preset, "vaetune.data": record["dataset_info"]["digest"]}
        | ({"mlflow.source.git.commit": git["revision"]} if git else {}),
        known=known,
    )


def _beside(ex: Execution) -> Path:
    """A local folder of the execution, for what cannot be written to S3 directly."""
    return ex.storage.local or Path("runs", ex.study.name, ex.run)


def _record(ex: Execution) -> dict[str, dict[str, str]]:
    record: dict[str, dict[str, str]] = json.loads(ex.storage.read("study.json"))
    return record


def _write_runs(ex: Execution, runs: list[dict[str, str]]) -> None:
    """MLflow's ids of the runs made since the last call; the list is filled by the tracker's thread."""
    new = runs[:]
    del runs[: len(new)]
    ex.tables.append("runs", new)
