"""The phases that train: what each hands to Tune, and what it makes of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd

from vaetune.config import Configuration
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Study, members
from vaetune.study.asha import Score
from vaetune.study.members import GroupSpec
from vaetune.study.recorder import Entry, Recorder
from vaetune.study.search import Search, score
from vaetune.study.tuning import Row
from vaetune.training.choice import USUAL, Choice


class SearchPhase:
    """SEARCH: trials as the arms' searches suggest them, stopped where their arm's rungs say so."""

    def __init__(self, study: Study, search: Search, recorder: Recorder, storage: Storage, root: int) -> None:
        self._study, self._search, self._recorder, self._storage, self._root = study, search, recorder, storage, root
        self._best: dict[tuple[str, int], list[tuple[Score, str]]] = {}
        self._outcomes: dict[str, Counter[str]] = {}

    @property
    def exhausted(self) -> bool:
        return self._search.exhausted

    def next(self) -> GroupSpec | None:
        s = self._search.next()
        if s is None:
            return None
        member = members.searched(self._study, self._root, s.arm, s.search, s.number, s.configuration)
        self._recorder.begin(Entry(member, "search", s.trial_id, s.slice, s.search, s.number, s.params))
        rungs = self._search.levels(s.trial_id, s.configuration.training.epochs)
        return GroupSpec(s.trial_id, "search", (member,), tuple(rungs))

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        for row in rows:
            stopped_at = 0
            for epoch in self._recorder.epochs(row["id"], row["epochs"]):
                at_rung = epoch["epoch"] in spec.rungs
                if at_rung and not self._search.report(row["id"], epoch["epoch"], epoch["metrics"]):
                    stopped_at = stopped_at or epoch["epoch"]
            if row["outcome"]:
                # Who has ended is not stopped any more: the last epoch is no rung, and a failure stays one.
                self._end(row["id"], row["outcome"], row["reason"], row, device)
                return False
            if stopped_at:
                self._end(row["id"], "stopped", f"not among the best at epoch {stopped_at}", row, device)
                return False
        return True

    def lost(self, spec: GroupSpec, reason: str) -> None:
        for member in spec.members:
            spent = self._recorder.open[member.id].spent(len(spec.members))
            self._end(member.id, "failed", reason, {"seconds": spent}, "")

    def replay(self, ledger: pd.DataFrame) -> None:
        """Takes in trials that ended in an earlier run of this execution: their weights, and how many have failed."""
        objective = self._study.objective
        for row in ledger.itertuples():
            final = {objective.metric: row.objective, objective.tie: row.tie}
            self.take(
                *(row.trial_id, row.arm, row.search),
                score(self._study, final) if row.outcome == "finished" else None,
            )
            self._outcomes.setdefault(row.arm, Counter())[row.outcome] += 1

    def take(self, id: str, arm: str, search: int, objective: Score | None) -> None:
        """Keeps the weights of each arm's best `top_k` finished trials and removes what else lies there."""
        best = self._best.setdefault((arm, search), [])
        if objective is not None:
            best.append((objective, id))
            best.sort()
        if objective is None or len(best) > self._study.budget.top_k:
            self._storage.delete(f"checkpoints/{id if objective is None else best.pop()[1]}")

    def _end(self, id: str, outcome: str, reason: str, row: Row, device: str) -> None:
        entry = self._recorder.end(id, outcome, reason, row["seconds"], device)
        finished = outcome == "finished"
        final = score(self._study, entry.metrics) if finished else None
        self._search.tell(id, outcome, entry.metrics[self._study.objective.metric] if finished else None)
        self.take(id, entry.member.arm, entry.search, final)
        self._count(entry.member.arm, outcome, reason)

    def _count(self, arm: str, outcome: str, reason: str) -> None:
        """Stops the study where an arm fails more often than it may: the rest of its budget would tell nothing."""
        counts = self._outcomes.setdefault(arm, Counter())
        counts[outcome] += 1
        if outcome != "failed":  # a study that is resumed because what failed was mended goes on
            return
        share, budget = counts["failed"] / counts.total(), self._study.budget
        if counts.total() >= min(4, budget.trials) and share > budget.max_failures:
            self._recorder.flush()
            last = reason.strip().splitlines()[-1]
            raise TooManyFailures(
                f"arm {arm!r}: {counts['failed']} of {counts.total()} trials failed, more than the share of "
                f"{budget.max_failures:g} that budget.max_failures allows; the last: {last}"
            )


class TooManyFailures(UserError):
    """An arm fails so often that going on would burn the budget."""


class QueuePhase:
    """SELECT and REPLICATE: members known in advance, in groups, each to its end."""

    def __init__(self, groups: Sequence[tuple[GroupSpec, Sequence[Entry]]], recorder: Recorder) -> None:
        self._groups: list[tuple[GroupSpec, Sequence[Entry]]] = []
        self._recorder = recorder
        self._pending: dict[str, set[str]] = {}
        self.add(groups)

    def add(self, groups: Sequence[tuple[GroupSpec, Sequence[Entry]]]) -> None:
        """Puts more groups at the end of the queue."""
        self._groups += groups
        self._pending |= {spec.id: {entry.member.id for entry in entries} for spec, entries in groups}

    @property
    def exhausted(self) -> bool:
        return not self._groups

    def next(self) -> GroupSpec | None:
        spec, entries = self._groups.pop(0)
        for entry in entries:
            self._recorder.begin(entry)
        return spec

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        pending = self._pending[spec.id]
        for row in rows:
            if row["id"] not in pending:
                continue
            self._recorder.epochs(row["id"], row["epochs"])
            if row["outcome"]:
                pending.discard(row["id"])
                self._recorder.end(row["id"], row["outcome"], row["reason"], row["seconds"], device)
        return bool(pending)

    def lost(self, spec: GroupSpec, reason: str) -> None:
        for id in sorted(self._pending[spec.id]):
            spent = self._recorder.open[id].spent(len(spec.members))
            self._recorder.end(id, "failed", reason, spent, "")


def pack(
    entries: Sequence[Entry], choice: Callable[[Configuration], Choice | None], most: int
) -> list[tuple[GroupSpec, list[Entry]]]:
    """Entries of one configuration each into groups as large as its `choice` says, and of at most `most`.

    Where that is None the first group is to measure, for all of them. The costliest come first, so that none ends late.
    """
    by_config: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        key = (entry.phase, entry.member.arm, repr(entry.member.configuration))
        by_config.setdefault(key, []).append(entry)
    groups = []
    for same in by_config.values():
        chosen = choice(same[0].member.configuration)
        size = min(most, (chosen or USUAL).members)
        for start in range(0, len(same), size):
            part = same[start : start + size]
            spec = GroupSpec(part[0].member.id, part[0].phase, tuple(e.member for e in part), choice=chosen)
            chosen = chosen or USUAL
            for entry in part:
                entry.group_id = spec.id
            groups.append((spec, part))
    return sorted(groups, key=lambda g: -_cost(g[0]))


def _cost(spec: GroupSpec) -> float:
    """Relative: members × epochs, twice where a decoder trains too."""
    configuration = spec.members[0].configuration
    decoder = 2 if getattr(configuration.model, "decoder", None) else 1
    return len(spec.members) * configuration.training.epochs * decoder
