"""The life of a study: search, select, replicate, evaluate, report, each from what the one before wrote."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, digest
from vaetune.datasets.exchange import ExchangeDataset
from vaetune.datasets.factors import FactoredDataset
from vaetune.datasets.pairs import Pairs
from vaetune.datasets.splits import trained
from vaetune.errors import UserError
from vaetune.storage import Storage, require_bucket
from vaetune.study import Study, cluster, execution, lock
from vaetune.study.aside import Aside
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.load import Loaded
from vaetune.study.options import PHASES, Options
from vaetune.study.patience import Patience
from vaetune.tracking import address

AT_ONCE = 1.0
"""Seconds that a driver takes at most to end after a second signal."""


def run(loaded: Loaded, study: Study, options: Options) -> int:
    """Runs the study, or what is left of it, and returns the exit code; raises `UserError`."""
    if options.phase not in (None, PHASES[0]) and not options.resume:
        raise UserError(f"--phase {options.phase} works on an earlier execution: name it with --resume RUN")
    if options.extend and options.resume:
        raise UserError("--extend begins a new run and --resume goes on with one that is there: give one of them")
    if options.tracking_uri:
        address.checked(options.tracking_uri)
    if options.address and options.phase not in ("report", "publish"):
        cluster.prepare(options.address)
        cluster.admit(options.address, study, options.storage)
    require_bucket(options.storage)
    dataset = open_dataset(study.dataset.name, Path(options.data_root) if options.data_root else None, options.download)
    measurable(study, dataset)
    info = dataset_info(study, dataset)
    if options.extend:
        from vaetune.study import extend

        extend.check(loaded, study, options, info)
    left = None if options.resume else execution.unfinished(loaded, study, options, info)
    opened = execution.reopen if options.resume else execution.create
    ex = opened(loaded, study, options, info)
    console = Console([arm.name for arm in study.arms], study.objective.unit, direction=study.objective.direction)
    console.note(f"{study.name} · run {ex.run} · {ex.storage.uri}")
    resume = _resume_command(options, ex.run)
    farewell = f"stopped, and nothing is lost. Go on with:\n  {resume}"
    signals = _Signals(farewell)
    if left:
        console.note(f"run {left} of this very study is unfinished; to go on with it: {_resume_command(options, left)}")
    try:
        with lock.held(ex.storage), signals:
            if ex.extends and ex.tables.read("ledger").empty:  # else that is done, and a report needs no torch
                from vaetune.study import extend

                extend.take_over(ex, options, console.note)
            _phases(options, ex, dataset, console, signals)
    except KeyboardInterrupt:
        console.close()
        print(farewell, file=sys.stderr)
        return 128 + (signals.received or signal.SIGINT)
    except UserError as error:
        raise UserError(f"{error}\nWhat is done is kept. Go on with:\n  {resume}") from error
    finally:
        console.close()
    return 0


def measurable(study: Study, dataset: Dataset) -> None:
    """Raises `UserError` for an endpoint that these data, or this replication, do not let measure."""
    metric, n = study.primary.metric, study.replication.ais
    if metric == "test/neg_ais" and not 2 <= n <= dataset.test_size:
        raise UserError(
            f"study {study.name!r}: endpoint {metric} needs replication.ais, the number of test images that it is "
            f"estimated of: from 2 to {dataset.test_size}, found {n}"
        )
    if metric in ("test/mig", "test/factor_vae") and not isinstance(dataset, FactoredDataset):
        raise UserError(f"study {study.name!r}: endpoint {metric} needs data with known factors, such as shapes")
    exchanged = isinstance(dataset, Pairs) and isinstance(dataset.left, ExchangeDataset)
    if metric == "test/transfer_error" and not exchanged:
        raise UserError(
            f"study {study.name!r}: endpoint {metric} needs pairs whose left images have a private part that is known, "
            "such as pairs:background:vertical,mnist::rotated:mnist"
        )


def dataset_info(study: Study, dataset: Dataset) -> dict[str, Any]:
    """What the record says about the data; the test split is named, not read."""
    development = dataset.development()
    wanted = study.dataset
    return {
        "name": wanted.name,
        "digest": digest(development),
        "train": len(development),
        "test": dataset.test_size,
        "classes": dataset.classes,
        "n_train": trained(len(development), wanted.n_validation, wanted.n_train, development.groups),
        "n_validation": wanted.n_validation,
    }


def _phases(options: Options, ex: Execution, dataset: Dataset, console: Console, signals: _Signals) -> None:
    wanted = [options.phase] if options.phase else list(PHASES)
    training = [phase for phase in wanted if phase not in ("report", "publish")]
    if training:
        # Everything heavy is behind this: a report alone needs neither Ray nor torch.
        if not options.address:
            cluster.prepare(None)
        from vaetune.study.training import train

        train(training, options, ex, dataset, console, signals.soft)
        console.close()  # the last phase takes no longer than its work
    report = None
    if "report" in wanted:
        from vaetune.study.explore import explore

        explore(ex, dataset, console)
        report = Aside(_render, ex.storage)  # takes about as long as publishing the models
    if "publish" in wanted and options.tracking_uri is not None:
        from vaetune.study.publish import publish

        started = time.monotonic()
        try:
            publish(options, ex, dataset, console, report.wait if report else lambda: None)
        finally:
            if report:
                report.wait()  # it is worth having, whatever befalls the models
        ex.write_environment(wall_seconds={"publish": round(time.monotonic() - started, 1)})
    elif "publish" in wanted:
        console.note("publish: skipped, because tracking is off")
    if report:
        report.result()
        console.note(f"report: {ex.storage.uri}/report/report.html")


def _render(storage: Storage) -> None:
    from vaetune.report.render import render

    render(storage.patient(Patience(partial(print, flush=True), lambda: False)))


def _resume_command(options: Options, run: str) -> str:
    """The command that goes on with an execution: the one that was typed, with --resume, passwords left out."""
    mine = ("--resume", "--extend")  # what is extended is written down
    arguments = [re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", a) for a in sys.argv[1:] if not a.startswith(mine)]
    for value in (options.resume, options.extend):
        if value in arguments:
            arguments.remove(value)
    return shlex.join(["python", "-m", "vaetune.study", *arguments, "--resume", run])


class _Signals:
    """SIGINT and SIGTERM, while a study runs.

    Inside `soft` the first one only sets a flag, which is asked between results, so that what runs is put away in
    order; anywhere else it raises KeyboardInterrupt. So does the second one, and what is then not put away within
    `AT_ONCE` seconds is left as it is, after the `farewell`: a resumed study puts it in order.
    """

    def __init__(self, farewell: str) -> None:
        self.received = 0
        self._farewell = farewell
        self._soft = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        self._before = self._install()

    def _install(self) -> dict[int, Any]:
        return {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.received = bool(self.received), number
        if again:
            hurry = threading.Timer(AT_ONCE, self._leave)
            hurry.daemon = True
            hurry.start()
        if again or not self._soft:
            raise KeyboardInterrupt

    def _leave(self) -> None:
        os.write(2, f"{self._farewell}\n".encode())
        os._exit(128 + self.received)

    @contextmanager
    def soft(self) -> Iterator[Callable[[], bool]]:
        """Within, a first signal is only noted; raises KeyboardInterrupt at the end if there was one."""
        self._soft = True
        self._install()  # again: Ray puts a handler of its own, which aborts, in the place of SIGTERM's
        try:
            yield lambda: bool(self.received)
        finally:
            self._soft = False
        if self.received:
            raise KeyboardInterrupt
