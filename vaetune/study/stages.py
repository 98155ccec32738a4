"""SEARCH, SELECT, REPLICATE and EVALUATE of one execution: each reads the tables, does what is missing, writes tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vaetune import config
from vaetune.config import Configuration
from vaetune.datasets.base import Dataset
from vaetune.evaluation.replicate import failed
from vaetune.study import Arm, Study, evaluate, members, select, tuning
from vaetune.study.console import Console
from vaetune.study.evaluate import Images, Measured
from vaetune.study.execution import Execution
from vaetune.study.phases import QueuePhase, SearchPhase, pack
from vaetune.study.recorder import Entry, Recorder
from vaetune.study.search import Search, score
from vaetune.study.tuning import Phase
from vaetune.tracking import Tracker
from vaetune.training.seeds import Member

GROUP = 5
"""Members that one Ray trial carries in SELECT and REPLICATE."""


@dataclass
class Stages:
    """What the training phases share. `slots` trials run at once; `interrupted` is asked between results."""

    execution: Execution
    dataset: Dataset
    root: int
    reproducible: bool
    slots: int
    tracker: Tracker
    console: Console
    interrupted: Callable[[], bool]

    @property
    def study(self) -> Study:
        """The study that is run."""
        return self.execution.study

    def search(self) -> None:
        """Every arm spends its trials."""
        study, ledger = self.study, self._ledger("search")
        parallel = 1 if self.reproducible else max(1, -(-self.slots // (len(study.arms) * study.budget.searches)))
        brain = Search(study, self.root, parallel)
        brain.replay(ledger, self.execution.tables.read("history"))
        recorder = self._recorder()
        phase = SearchPhase(study, brain, recorder, self.execution.storage, self.root)
        for row in ledger.itertuples():
            final = {study.objective.metric: row.objective, study.objective.tie: row.tie}
            phase.take(row.trial_id, row.arm, row.search, score(study, final) if row.outcome == "finished" else None)
        total = study.budget.trials * study.budget.searches
        self._run("search", phase, recorder, dict.fromkeys((a.name for a in study.arms), total), ledger)

    def select(self) -> None:
        """The best trials of every arm on fresh seeds, on validation."""
        study, done = self.study, set(self._ledger("select")["trial_id"])
        found = select.candidates(self._ledger("search"), study)
        rank: dict[tuple[str, int], int] = {}
        entries = []
        for candidate in found:
            key = (candidate.arm, candidate.search)
            number = rank[key] = rank.get(key, -1) + 1
            chosen = self._configuration(candidate.config)
            arm = study.arm(candidate.arm)
            for member in members.reseeded(study, self.root, arm, candidate.search, number, chosen):
                if member.id not in done:
                    entries.append(Entry(member, "select", member.id, search=candidate.search, number=number))
        self._queue("select", entries)

    def replicate(self) -> None:
        """The chosen configuration of every arm on fresh seeds, at full length, unstopped."""
        done = set(self._ledger("replicate")["trial_id"])
        entries = [
            Entry(m, "replicate", m.id, search=i % self.study.budget.searches, number=i)
            for arm in self.study.arms
            for i, m in enumerate(self._replicates(arm))
            if m.id not in done
        ]
        self._queue("replicate", entries)

    def evaluate(self) -> None:
        """Opens the test split and measures every replicate once."""
        tables, study = self.execution.tables, self.study
        measured = set(tables.read("replicates")["replicate_id"])
        ledger = self._ledger("replicate").drop_duplicates("trial_id").set_index("trial_id")
        todo = [m for arm in study.arms for m in self._replicates(arm) if m.id not in measured]
        if not todo:
            return
        self.console.phase("evaluate", _count(todo), {})
        ended = [m for m in todo if ledger.loc[m.id, "outcome"] == "finished"]
        for member in todo:
            if member not in ended:
                self._write(Measured(member, failed(self.dataset.classes), [], 0, 0, ledger.loc[member.id, "reason"]), ledger)
        development, test = self.dataset.development(), self.dataset.sealed_test()
        for one in evaluate.evaluate(
            ended,
            Images(development.images, development.labels),
            Images(test.images, test.labels),
            self.execution.storage,
            self.dataset.classes,
            study.replication.samples,
            study.replication.refit,
            {},
            study.resources,
        ):
            self._write(one, ledger)

    def _write(self, one: Measured, ledger: pd.DataFrame) -> None:
        """Predictions first: a row in replicates says that a replicate is wholly measured."""
        id, row = one.member.id, ledger.loc[one.member.id]
        for columns in one.predictions:
            self.execution.tables.append_columns("predictions", {"replicate_id": id} | columns)
        failure = one.reason or row["reason"]
        outcome = "failed" if one.reason or row["outcome"] == "failed" else "finished"
        dataset = one.member.configuration.dataset
        self.execution.tables.append(
            "replicates",
            [
                {
                    "replicate_id": id,
                    "arm": one.member.arm,
                    "replicate": int(row["number"]),
                    "search": int(row["search"]),
                    "seed": one.member.seeds.initial,
                    "config_hash": row["config_hash"],
                    "dataset": dataset.name,
                    "n_train": one.n_train,
                    "label_noise": dataset.label_noise,
                    "outcome": outcome,
                    "reason": failure,
                    "epochs": int(row["epochs"]),
                    "seconds": float(row["seconds"]),
                    "parameters": one.parameters,
                }
                | one.metrics
            ],
        )
        now = int(pd.Timestamp.now("UTC").timestamp() * 1000)
        self.tracker.begin(id, id, {}, {}, now)
        self.tracker.metrics(id, [(name, value, int(row["epochs"]), now) for name, value in one.metrics.items()])
        self.tracker.end(id, outcome, now)
        self.console.finished(one.member.arm, outcome, one.metrics["test/error"])

    def _replicates(self, arm: Arm) -> list[Member]:
        winners = self._chosen()
        configurations = [self._configuration(winners[arm.name, s].config) for s in range(self.study.budget.searches)]
        return members.replicates(self.study, self.root, arm, configurations)

    def _chosen(self) -> dict[tuple[str, int], select.Candidate]:
        return select.chosen(self.execution.tables.read("ledger"), self.study)

    def _queue(self, name: str, entries: list[Entry]) -> None:
        recorder = self._recorder()
        phase = QueuePhase(pack(entries, GROUP), recorder)
        self._run(name, phase, recorder, _count([e.member for e in entries]), self._ledger(name).iloc[:0])

    def _run(self, name: str, phase: Phase, recorder: Recorder, total: dict[str, int], done: pd.DataFrame) -> None:
        if phase.exhausted:
            return
        development = self.dataset.development()
        data = {
            "images": np.ascontiguousarray(development.images),
            "labels": development.labels,
            "classes": self.dataset.classes,
            "storage": self.execution.storage,
            "refit": self.study.replication.refit,
        }
        self.console.phase(name, total, {})
        for row in done.itertuples():
            self.console.finished(row.arm, row.outcome, row.objective)
        try:
            tuning.run(phase, data, self.study.resources, self.slots, self.interrupted)
        finally:
            recorder.flush()

    def _recorder(self) -> Recorder:
        return Recorder(self.execution.tables, self.tracker, self.console, self.study.objective)

    def _ledger(self, phase: str) -> pd.DataFrame:
        ledger = self.execution.tables.read("ledger")
        return ledger[ledger["phase"] == phase]

    def _configuration(self, text: str) -> Configuration:
        data: dict[str, Any] = json.loads(text)
        model = config.from_json(type(self.study.model), data.pop("model"), "model.")
        plain = Configuration(model=model, training=self.study.training, dataset=self.study.dataset)
        return config.override(plain, data)


def _count(who: list[Member]) -> dict[str, int]:
    total: dict[str, int] = {}
    for member in who:
        total[member.arm] = total.get(member.arm, 0) + 1
    return total
