"""SEARCH, SELECT and REPLICATE of all arms through one Tuner: an arm goes on to its next phase as soon as it can.

No worker waits for the slowest arm of a phase, and no actor is started twice. The order of things inside an arm is that
of the phases; nothing in an arm depends on when another arm gets where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from vaetune import config
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.models.configs import CATALOGUE
from vaetune.study import Arm, Study, members, select
from vaetune.study.members import GroupSpec
from vaetune.study.phases import QueuePhase, SearchPhase, pack
from vaetune.study.recorder import Entry, Recorder
from vaetune.study.tuning import Row
from vaetune.training.choice import Choice
from vaetune.training.seeds import Member


class Pipeline:
    """A `tuning.Phase` of the `wanted` phases; what the recorder's ledger already holds is not done again.

    Members of SELECT and REPLICATE go in groups as the `choice` for their configuration says, of at most `most`.
    """

    def __init__(
        self,
        study: Study,
        root: int,
        wanted: Sequence[str],
        search: SearchPhase,
        recorder: Recorder,
        choice: Callable[[Configuration], Choice | None],
        most: int,
    ) -> None:
        self._study, self._root, self._recorder = study, root, recorder
        self._choice, self._most = choice, most
        self._wanted = [phase for phase in ("select", "replicate") if phase in wanted]
        self._search = search if "search" in wanted else None
        self._queue = QueuePhase([], recorder)
        self._ahead = {arm.name: list(self._wanted) for arm in study.arms}
        for arm in study.arms:
            self._advance(arm)

    @property
    def exhausted(self) -> bool:
        searched = self._search is None or self._search.exhausted
        return searched and self._queue.exhausted and not any(self._ahead.values())

    def next(self) -> GroupSpec | None:
        spec = self._search.next() if self._search and not self._search.exhausted else None
        return spec or (None if self._queue.exhausted else self._queue.next())

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        inner = self._search if self._search and spec.phase == "search" else self._queue
        goes_on = inner.result(spec, rows, device)
        if not goes_on:
            self._advance(self._study.arm(spec.members[0].arm))
        return goes_on

    def lost(self, spec: GroupSpec, reason: str) -> None:
        inner = self._search if self._search and spec.phase == "search" else self._queue
        inner.lost(spec, reason)
        self._advance(self._study.arm(spec.members[0].arm))

    def _advance(self, arm: Arm) -> None:
        """Queues the arm's next phase, and the one after if nothing of the first is left to do."""
        while phases := self._ahead[arm.name]:
            ledger = self._recorder.ledger()
            mine = ledger[ledger["arm"] == arm.name]
            if phases[0] == "select":
                if (mine["phase"] == "search").sum() < self._study.budget.trials * self._study.budget.searches:
                    return
                entries = reseedings(self._study, self._root, arm, mine)
            else:
                expected = len(reseedings(self._study, self._root, arm, mine))
                if (mine["phase"] == "select").sum() < expected:
                    return
                entries = replications(self._study, self._root, arm, mine)
            phases.pop(0)
            done = set(mine["trial_id"])
            todo = [e for e in entries if e.member.id not in done]
            self._queue.add(pack(todo, self._choice, self._most))


def reseedings(study: Study, root: int, arm: Arm, ledger: pd.DataFrame) -> list[Entry]:
    """SELECT of one arm: its best trials on fresh seeds, on two validation folds in turn."""
    entries = []
    rank: dict[int, int] = {}
    for candidate in select.candidates(ledger, replace(study, arms=(arm,))):
        number = rank[candidate.search] = rank.get(candidate.search, -1) + 1
        chosen = parse(study, candidate.config)
        for member in members.reseeded(study, root, arm, candidate.search, number, chosen):
            entries.append(Entry(member, "select", "", f"fold{member.fold}", candidate.search, number))
    return entries


def replications(study: Study, root: int, arm: Arm, ledger: pd.DataFrame) -> list[Entry]:
    """REPLICATE of one arm: its chosen configuration (one a search, in turn) on fresh seeds."""
    winners = select.chosen(ledger, replace(study, arms=(arm,)))
    searches = study.budget.searches
    chosen = [parse(study, winners[arm.name, search].config) for search in range(searches)]
    if study.replication.refit:
        chosen = [_unpatient(c, ledger[ledger["config_hash"] == config.digest(c)]) for c in chosen]
    found: list[Member] = members.replicates(study, root, arm, chosen)
    return [Entry(member, "replicate", "", search=i % searches, number=i) for i, member in enumerate(found)]


def _unpatient(chosen: Configuration, trained: pd.DataFrame) -> Configuration:
    """A configuration that stops early, for training without validation images: at its usual best epoch instead."""
    patience = chosen.training.patience
    if not patience:
        return chosen
    selected = trained[(trained["phase"] == "select") & (trained["outcome"] == "finished")]
    best = selected["epochs"].where(selected["epochs"] == selected["length"], selected["epochs"] - patience)
    return config.override(chosen, {"training.patience": 0, "training.epochs": max(1, round(best.median()))})


def parse(study: Study, text: str) -> Configuration:
    """A configuration from the ledger; a model class of the study's own file need not be in the catalogue."""
    data: dict[str, Any] = json.loads(text)
    own: type[ModelConfig] = type(study.model)
    described = data.pop("model")
    known = described.get("kind") in CATALOGUE and described["kind"] != own.kind
    model = config.from_json(ModelConfig if known else own, described, "model.")
    training = config.from_json(TrainingConfig, data["training"], "training.")
    return Configuration(
        model=model, training=training, dataset=config.from_json(DatasetConfig, data["dataset"], "dataset.")
    )
