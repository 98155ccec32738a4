"""A driver whose cluster is its own process: a study is trained in the time that Ray takes to start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, cast

from vaetune.datasets import open_dataset
from vaetune.study import Study, execution, extend, pretrained, runner, stages
from vaetune.study.board import Board
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.load import Loaded
from vaetune.study.options import Options
from vaetune.tracking import Tracker

TRAINING = ("search", "select", "replicate")


class Deaf:
    """A tracker and a console of nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


@dataclass
class Driver:
    """Trains studies, with their results in one root."""

    root: str
    LOADED: ClassVar = Loaded(
        path=Path("study.py"), sha256="0" * 64, module=ModuleType("study"), presets={}, docstring=""
    )

    def __call__(
        self, study: Study, extends: str | None = None, resume: str | None = None, phases: Sequence[str] = TRAINING
    ) -> Execution:
        options = Options(storage=self.root, extend=extends, resume=resume)
        data = open_dataset(study.dataset.name)
        info = runner.dataset_info(study, data)
        if extends:
            extend.check(self.LOADED, study, options, info)
        ex = (execution.reopen if resume else execution.create)(self.LOADED, study, options, info)
        if ex.extends and ex.tables.read("ledger").empty:
            extend.take_over(ex, options, lambda text: None)
        pretrained.fetch(study, ex.storage, None)
        tracker, console = cast(Tracker, Deaf()), cast(Console, Deaf())
        work = stages.Stages(ex, data, 0, True, 1, True, tracker, Board(None), console, lambda: False)
        work.train(phases)
        return ex

    def check(self, study: Study, run: str, **flags: Any) -> int:
        """Whether a run can be extended; see `extend.check`."""
        info = runner.dataset_info(study, open_dataset(study.dataset.name))
        return extend.check(self.LOADED, study, Options(storage=self.root, extend=run, **flags), info)
