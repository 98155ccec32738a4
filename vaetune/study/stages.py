"""What an execution does on Ray: train (SEARCH, SELECT, REPLICATE) and EVALUATE; both do only what is missing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from vaetune import checkpoints
from vaetune.datasets.base import Dataset, digest
from vaetune.datasets.exchange import sources
from vaetune.datasets.factors import FactoredDataset
from vaetune.datasets.folds import require_two
from vaetune.datasets.pairs import Pairs
from vaetune.errors import UserError
from vaetune.evaluation.replicate import failed
from vaetune.study import Study, battery, evaluate, health, importance, plan, tuning
from vaetune.study.board import Board
from vaetune.study.chooser import Choices
from vaetune.study.console import Console
from vaetune.study.entries import replications
from vaetune.study.evaluate import Known, Measured
from vaetune.study.execution import Execution
from vaetune.study.phases import SearchPhase
from vaetune.study.pipeline import Pipeline
from vaetune.study.pool import Pool
from vaetune.study.recorder import Data, Recorder
from vaetune.study.search import Search
from vaetune.study.tracked import record
from vaetune.study.versions import versions
from vaetune.tracking import Tracker, charted, inputs
from vaetune.training.seeds import Member

CLUSTER_RETRIES = 8
"""Times that a group is tried again on a cluster, whose machines may be taken away; 2 on one's own."""


LARGEST = 16
"""Members that a group has at most: larger stacks are measured no more."""


@dataclass
class Stages:
    """What both need. `slots` trials run at once, all of them `here`, on this machine, or anywhere on a cluster.

    `interrupted` is asked between results.
    """

    execution: Execution
    dataset: Dataset
    root: int
    reproducible: bool
    slots: int
    here: bool
    tracker: Tracker
    board: Board
    console: Console
    interrupted: Callable[[], bool]
    _predicted: set[str] = field(default_factory=set, init=False)
    _examined: set[str] = field(default_factory=set, init=False)

    @property
    def study(self) -> Study:
        """The study that is run."""
        return self.execution.study

    def train(self, phases: Sequence[str]) -> None:
        """Runs those of search, select and replicate that are asked for, in one go."""
        tables, study = self.execution.tables, self.study
        development = self.dataset.development()
        if study.budget.reseeds > 1:
            require_two(len(development), study.dataset.n_validation)
        digested = record(self.execution)["dataset_info"]["digest"]
        data = Data(digested, len(development), development.groups, study.replication.refit, charted(len(study.arms)))
        recorder = Recorder(tables, self.tracker, self.console, study.objective, self.board, data)
        recorder.forget(self._damaged(recorder.ledger()))
        ledger = recorder.ledger()
        searched = ledger[ledger["phase"] == "search"]
        parallel = 1 if self.reproducible else max(1, -(-self.slots // (len(study.arms) * study.budget.searches)))
        brain = Search(study, self.root, parallel)
        brain.replay(searched, tables.read("history"))
        phase = SearchPhase(study, brain, recorder, self.execution.storage, self.root)
        phase.replay(searched)
        self._announce(phases, ledger)
        shared = {
            "pool": Pool.of(development, self.here),
            "classes": self.dataset.classes,
            "storage": self.execution.storage,
            "refit": study.replication.refit,
            "stall": study.budget.stall,
            "driver": None if self.here else versions(),
            "most": self._most(),
        }
        choices = Choices(self._routes, tuple(self.dataset.shape), self.dataset.classes)
        pipeline = Pipeline(study, self.root, phases, phase, recorder, choices, self._most())
        if not pipeline.exhausted:
            try:
                tuning.run(
                    *(pipeline, shared, lambda arm: study.arm(arm).resources or study.resources, self.slots),
                    *(self.interrupted, self._learn, health.limit(self.here), 2 if self.here else CLUSTER_RETRIES),
                    self.console.note,
                )
            finally:
                recorder.flush()
        if tables.read("importance").empty and brain.exhausted:
            tables.append("importance", importance.rows(brain))

    def evaluate(self) -> None:
        """Opens the test split and measures every replicate once."""
        tables, study = self.execution.tables, self.study
        measured = set(tables.read("replicates")["replicate_id"])
        ledger = tables.read("ledger")
        todo = [m for m in self._replicates(ledger) if m.id not in measured]
        replicated = ledger[ledger["phase"] == "replicate"].drop_duplicates("trial_id").set_index("trial_id")
        if absent := [m.id for m in todo if m.id not in replicated.index]:
            raise UserError(f"replicate {absent[0]} and {len(absent) - 1} more were not trained; run --phase replicate")
        if not todo:
            return
        self.console.phase("evaluate", _count(todo), {})
        self._predicted, self._examined = (set(tables.read(t)["replicate_id"]) for t in ("predictions", "battery"))
        ended = [m for m in todo if replicated.loc[m.id, "outcome"] == "finished"]
        for member in todo:
            if member not in ended:
                reason = replicated.loc[member.id, "reason"]
                lost = Measured(member, failed(self.dataset.classes), [], 0, 0, reason=reason)
                self._write([lost], replicated)
        development, test = self.dataset.development(), self.dataset.sealed_test()
        seen = [inputs.whole(study.dataset.name, digest(test), "test", len(test))]
        for chunk in evaluate.evaluate(
            ended,
            Pool.of(development, self.here),
            Pool.of(test, self.here),
            self.execution.storage,
            self.dataset.classes,
            study.replication,
            self._temperatures(ledger) if study.replication.refit else {},
            study.resources,
            _known(self.dataset),
            self.interrupted,
            health.limit(self.here),
        ):
            self._write(chunk, replicated)
            for one in chunk:
                self.tracker.inputs(one.member.id, seen)

    def battery(self, data_root: str | None) -> None:
        """Measures outliers, attacks and memorised labels on every replicate that finished."""
        tables, study = self.execution.tables, self.study
        ledger, measured = tables.read("ledger"), tables.read("replicates")
        healthy = set(measured.loc[measured["outcome"] == "finished", "replicate_id"])
        members = [member for member in self._replicates(ledger) if member.id in healthy]
        strange = battery.others(self.dataset, data_root, self.console.note)
        battery.run(
            *(members, self.dataset, strange, self.execution.storage, tables),
            *(study.replication, study.resources, self.here, self.interrupted),
        )

    def _write(self, chunk: Sequence[Measured], ledger: pd.DataFrame) -> None:
        """The row in replicates comes last: it says that a replicate is wholly measured."""
        tables, now = self.execution.tables, time.time_ns() // 1_000_000
        # Those of who was just being written down when an earlier driver died are there, and the same.
        tables.append_columns("predictions", evaluate.columns([m for m in chunk if m.member.id not in self._predicted]))
        fresh = [m for m in chunk if m.member.id not in self._examined]
        tables.append("battery", [row for m in fresh for row in battery.records(m.member.id, m.battery)])
        rows = [one.row(ledger.loc[one.member.id]) for one in chunk]
        tables.append("replicates", rows)
        for one, row in zip(chunk, rows, strict=True):
            id = one.member.id
            tags = {"vaetune.kind": "replicate", "vaetune.arm": one.member.arm, "vaetune.phase": "replicate"}
            self.tracker.begin(id, id, tags, {}, now)
            self.tracker.metrics(id, [(name, value, row["epochs"], now) for name, value in one.metrics.items()])
            self.tracker.end(id, row["outcome"], now)
            # No score: the live view must not rank arms by what the test split says.
            self.console.finished(one.member.arm, row["outcome"], None)

    def _damaged(self, ledger: pd.DataFrame) -> list[str]:
        """Replicates that were trained and not yet measured, but whose checkpoints do not load: to be trained again."""
        measured = self.execution.tables.read("replicates")["replicate_id"]
        trained = ledger[(ledger["phase"] == "replicate") & (ledger["outcome"] == "finished")]["trial_id"]
        damaged = []
        for id in trained[~trained.isin(measured)]:
            try:
                checkpoints.load(self.execution.storage, id)
            except checkpoints.CheckpointError as error:
                self.console.note(f"{error}; it is trained again")
                damaged.append(id)
        return damaged

    def _learn(self, routes: Mapping[str, str]) -> None:
        """Into environment.json; where the workers' machines differ, every choice is named."""
        known = self._routes()
        choices = {name: [*known[name].split(" or ")] if name in known else [] for name in routes}
        merged = {name: " or ".join(dict.fromkeys([*choices[name], routes[name]])) for name in routes}
        if merged != known:
            self.execution.write_environment(routes=merged)

    def _routes(self) -> Mapping[str, str]:
        """As environment.json has them."""
        routes: Mapping[str, str] = self.execution.environment.get("routes", {})
        return routes

    def _most(self) -> int:
        """Members of one group at most: so many that no slot is left without work."""
        n = self.study.replication.n
        return max(1, min(n, LARGEST, -(-n * len(self.study.arms) // self.slots)))

    def _replicates(self, ledger: pd.DataFrame) -> list[Member]:
        mine = dict(iter(ledger.groupby("arm")))
        arms = [arm for arm in self.study.arms if arm.name in mine]
        return [e.member for arm in arms for e in replications(self.study, self.root, arm, mine[arm.name])]

    def _temperatures(self, ledger: pd.DataFrame) -> dict[str, float]:
        """Per arm the mean (of logarithms) temperature that its re-seeded members had on validation at their end."""
        history = self.execution.tables.read("history")
        last = history[history["metric"] == "val/temperature"].groupby("member_id")["value"].last()
        selected = ledger[(ledger["phase"] == "select") & (ledger["outcome"] == "finished")]
        logs = selected.assign(log=selected["trial_id"].map(last).map(math.log)).groupby("arm")["log"].mean()
        return {str(arm): math.exp(value) for arm, value in logs.items()}

    def _announce(self, phases: Sequence[str], ledger: pd.DataFrame) -> None:
        """Tells the console what is to come, what was done before included."""
        budget = self.study.budget
        members = {
            "search": budget.trials * budget.searches,
            "select": budget.top_k * budget.reseeds * budget.searches,
            "replicate": self.study.replication.n,
        }
        total = {arm.name: sum(members[phase] for phase in phases) for arm in self.study.arms}
        epochs = {c.arm: sum(float(getattr(c, f"{phase}_epochs")) for phase in phases) for c in plan.costs(self.study)}
        self.console.phase(" · ".join(phases), total, epochs)
        for row in ledger[ledger["phase"].isin(phases)].itertuples():
            self.console.finished(row.arm, row.outcome, row.objective)


def _known(dataset: Dataset) -> Known:
    factors = dataset.factors()[1] if isinstance(dataset, FactoredDataset) else None
    return Known(factors, dataset.exchanged_test(sources(dataset.test_size)) if isinstance(dataset, Pairs) else None)


def _count(who: Sequence[Member]) -> dict[str, int]:
    total: dict[str, int] = {}
    for member in who:
        total[member.arm] = total.get(member.arm, 0) + 1
    return total
