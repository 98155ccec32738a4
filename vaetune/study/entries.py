"""Who is trained in SELECT and REPLICATE: from the ledger to members. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd

from vaetune import config
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.models.configs import CATALOGUE
from vaetune.study import Arm, Study, members, select
from vaetune.study.recorder import Entry


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
    hashes = [config.digest(c) for c in chosen]
    lasting = [_lasting(study, c, ledger[ledger["config_hash"] == h]) for c, h in zip(chosen, hashes, strict=True)]
    return [
        Entry(member, "replicate", "", search=i % searches, number=i, selected=hashes[i % searches])
        for i, member in enumerate(members.replicates(study, root, arm, lasting))
    ]


def _lasting(study: Study, chosen: Configuration, trained: pd.DataFrame) -> Configuration:
    """A chosen configuration with the length that its replicates train for.

    That is `replication.extra_epochs` more than was selected; but one that stops early, and is to be trained without
    validation images, ends at its usual best epoch, from the rows `trained` of the ledger.
    """
    patience = chosen.training.patience
    if not (patience and study.replication.refit):
        return config.override(chosen, {"training.epochs": chosen.training.epochs + study.replication.extra_epochs})
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
