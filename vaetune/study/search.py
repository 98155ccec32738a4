"""The search of a study, free of Ray: per arm its own Optuna study and its own rungs, equal budgets, exact replay.

What an arm suggests is a function of its own past and the trial's number, because the sampler is seeded anew for each
number. While an arm has one trial under way at a time (`parallel` = 1) its whole search is therefore reproducible,
early stopping included, however many arms run side by side.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from vaetune.config import Configuration
from vaetune.seeding import seed_for
from vaetune.study import Arm, Study, members
from vaetune.study.asha import Rungs, Score
from vaetune.study.space import combined, configuration


@dataclass(frozen=True)
class Suggestion:
    """One trial to run: its id, where it belongs, and what was sampled."""

    trial_id: str
    arm: Arm
    search: int
    number: int
    slice: str
    params: dict[str, Any]
    configuration: Configuration


@dataclass
class ArmSearch:
    """One arm's search (one of `budget.searches` independent ones)."""

    study: Study
    arm: Arm
    search: int
    root: int
    rungs: Rungs = field(init=False)
    waiting: list[int] = field(init=False)
    running: dict[int, optuna.Trial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        budget = self.study.budget
        self.waiting = list(range(budget.trials))
        self.rungs = Rungs(budget.grace, budget.reduction)
        self.optuna = optuna.create_study(direction=self.study.objective.direction, sampler=self._sampler(0))
        self.space = combined(self.study, self.arm)

    def ask(self) -> Suggestion:
        """The next trial of this arm: the lowest number that neither ended nor runs."""
        number = self.waiting.pop(0)
        self.optuna.sampler = self._sampler(number)
        trial = self.running[number] = self.optuna.ask()
        chosen = configuration(self.study, self.arm, self.space(trial))
        id = members.trial_id(self.study, self.arm, self.search, number)
        slice = "audit" if number < self.study.budget.audit else "asha"
        return Suggestion(id, self.arm, self.search, number, slice, dict(trial.params), chosen)

    def report(self, number: int, epoch: int, score: Score, value: float) -> bool:
        """A score at a rung, told to the rungs and to Optuna; whether the trial goes on. Audit trials always do.

        One that is not finite is no score and judges nobody: whoever has it has diverged and ends by itself.
        """
        if not all(map(math.isfinite, score)):
            return True
        self.running[number].report(value, epoch)
        goes_on = self.rungs.report(str(number), epoch, score)
        return goes_on or number < self.study.budget.audit

    def tell(self, number: int, outcome: str, value: float | None) -> None:
        """The end of a trial: finished is COMPLETE, stopped is PRUNED with its intermediate values, failed is FAIL."""
        trial = self.running.pop(number)
        if outcome == "finished" and value is not None and math.isfinite(value):
            self.optuna.tell(trial, value)
        else:
            self.optuna.tell(trial, state=TrialState.PRUNED if outcome == "stopped" else TrialState.FAIL)

    def replay(
        self,
        number: int,
        params: Mapping[str, Any],
        rungs: list[tuple[int, Score, float]],
        outcome: str,
        value: float | None,
    ) -> None:
        """Takes in a trial that ended in an earlier run of this execution, as `ask`, `report` and `tell` would have."""
        self.optuna.enqueue_trial(dict(params))
        trial = self.running[number] = self.optuna.ask()
        self.space(trial)
        self.waiting.remove(number)
        for epoch, score, reported in rungs:
            self.report(number, epoch, score, reported)
        self.tell(number, outcome, value)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Random for the audit slice, the same shared draws in every arm; then TPE over this arm's own trials."""
        purpose = f"search/audit/{self.search}" if number < self.study.budget.audit else f"{self._stream}/tpe"
        seed = seed_for(self.root, self.study.name, self.study.dataset.name, number, purpose) % 2**32
        if number < self.study.budget.audit:
            return optuna.samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # `group` is what makes conditional spaces right; Optuna still calls it experimental.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.TPESampler(multivariate=True, group=True, n_startup_trials=1, seed=seed)

    @property
    def _stream(self) -> str:
        return members.search_stream(self.arm, self.search)


class Search:
    """All arms' searches: hands out trials so that every arm spends the same number, and keeps their outcomes apart."""

    def __init__(self, study: Study, root: int, parallel: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = study
        self.parallel = parallel
        self.arms = [ArmSearch(study, arm, s, root) for s in range(study.budget.searches) for arm in study.arms]
        self._at: dict[str, tuple[ArmSearch, int]] = {}

    def next(self) -> Suggestion | None:
        """The next trial, of the arm that has had the fewest; None while every arm that has some left is busy."""
        ready = [a for a in self.arms if a.waiting and len(a.running) < self.parallel]
        if not ready:
            return None
        arm = max(ready, key=lambda a: len(a.waiting))
        suggestion = arm.ask()
        self._at[suggestion.trial_id] = (arm, suggestion.number)
        return suggestion

    @property
    def exhausted(self) -> bool:
        """Whether every arm has been handed its whole budget."""
        return not any(arm.waiting for arm in self.arms)

    def levels(self, trial_id: str, length: int) -> list[int]:
        """The rungs of a trial of `length` epochs."""
        return self._at[trial_id][0].rungs.levels(length)

    def report(self, trial_id: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """A result at a rung; whether the trial goes on. A result without the objective is an error."""
        arm, number = self._at[trial_id]
        return arm.report(number, epoch, score(self.study, metrics), metrics[self.study.objective.metric])

    def tell(self, trial_id: str, outcome: str, value: float | None) -> None:
        """The end of a trial; see `ArmSearch.tell`."""
        arm, number = self._at[trial_id]
        arm.tell(number, outcome, value)

    def replay(self, ledger: pd.DataFrame, history: pd.DataFrame) -> None:
        """Takes in the trials that an interrupted run of this execution has ended, in the order in which they ended."""
        wanted = (self.study.objective.metric, self.study.objective.tie)
        scored = history[history["metric"].isin(wanted)].drop_duplicates(["member_id", "epoch", "metric"], keep="last")
        by_member = dict(iter(scored.groupby("member_id")))
        arms = {(arm.arm.name, arm.search): arm for arm in self.arms}
        for row in ledger[ledger["phase"] == "search"].itertuples():
            arm = arms[row.arm, row.search]
            rungs = []
            if row.trial_id in by_member:
                table = by_member[row.trial_id].pivot(index="epoch", columns="metric", values="value")
                for epoch in arm.rungs.levels(row.length):
                    # Later epochs are of a trial that was under way under this id when an earlier run died.
                    if epoch in table.index and epoch <= row.epochs:
                        metrics = table.loc[epoch].to_dict()
                        rungs.append((epoch, score(self.study, metrics), metrics[wanted[0]]))
            value = None if pd.isna(row.objective) else float(row.objective)
            arm.replay(int(row.number), json.loads(row.params), rungs, row.outcome, value)


def score(study: Study, metrics: Mapping[str, float]) -> Score:
    """Objective and tie-breaker, smaller is better; raises ValueError where a result lacks them."""
    objective = study.objective
    missing = [name for name in (objective.metric, objective.tie) if name not in metrics]
    if missing:
        raise ValueError(f"a result without {' and '.join(missing)}; it has {', '.join(sorted(metrics))}")
    sign = 1 if objective.direction == "minimize" else -1
    return (sign * metrics[objective.metric], metrics[objective.tie])
