"""What an execution left behind, checked and in arrays: the only place where the report reads tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vaetune.errors import UserError
from vaetune.report import primary
from vaetune.report.primary import Primary
from vaetune.report.statistics import Array
from vaetune.storage import Storage
from vaetune.tables import SCHEMAS, Tables


@dataclass(frozen=True)
class Evidence:
    """An execution. `study` and `environment` are its JSON files; the frames are its tables, cleaned.

    `replicates` has one row a replicate in order of arm and replicate number. `errors[arm]` is what the study's
    endpoint is the mean of, [replicate, example]: for classifiers 1 − correct; it is [replicate] where the endpoint is
    no mean over examples. `nll[arm]` is a classifier's log loss in nats. Both are of one pass at the posterior mean.
    Where a replicate `failed`, its test and validation error are chance, (C − 1)/C, and its NLLs log C; an endpoint
    that knows no chance is, example by example, the worst of all replicates of the study. `search` [replicate] is
    the number of the search that replicate i of every arm belongs to. `importance`, `battery` and `runs` may be empty.
    """

    study: dict[str, Any]
    environment: dict[str, Any]
    ledger: pd.DataFrame
    history: pd.DataFrame
    replicates: pd.DataFrame
    errors: Mapping[str, Array]
    nll: Mapping[str, Array]
    search: npt.NDArray[np.int64]
    importance: pd.DataFrame
    battery: pd.DataFrame
    runs: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """In the order of the study file, which is the order of every table and figure."""
        return [arm["name"] for arm in self.study["arms"]]

    @property
    def margin(self) -> float:
        """The equivalence margin in the tables' own numbers; the study states it in the endpoint's unit."""
        return float(self.study["margin"]) / self.endpoint.scale

    @property
    def endpoint(self) -> Primary:
        """What is compared."""
        return primary.of(self.study)

    @property
    def examples(self) -> int:
        """How many test examples."""
        first = self.errors[self.arms[0]]
        return first.shape[1] if first.ndim == 2 else int(self.study["dataset_info"]["test"])

    def of(self, arm: str) -> pd.DataFrame:
        """The arm's replicates."""
        return self.replicates[self.replicates["arm"] == arm]


COLUMNS = {"error": "correct", "nll": "log_loss", "neg_elbo": "elbo"}
"""Where the table of predictions has a loss, or what it is made from."""

OPTIONAL = ("importance", "battery", "runs")


def gather(storage: Storage) -> Evidence:
    """The evidence in an execution's folder. Raises `UserError` naming what is missing or odd."""
    files = {}
    for name in ("study.json", "environment.json"):
        try:
            files[name] = json.loads(storage.read(name))
        except FileNotFoundError:
            raise UserError(f"{storage.uri} holds no {name}: is this an execution's folder?") from None
    tables = Tables(storage)
    names = ("ledger", "history", "replicates", "predictions", *OPTIONAL)
    return assemble(files["study.json"], files["environment.json"], **{name: tables.read(name) for name in names})


def assemble(
    study: dict[str, Any],
    environment: dict[str, Any],
    *,
    ledger: pd.DataFrame,
    history: pd.DataFrame,
    replicates: pd.DataFrame,
    predictions: pd.DataFrame,
    **optional: pd.DataFrame,
) -> Evidence:
    """Check the tables and turn them into arrays.

    A row that a resumed execution wrote twice counts once, as last written. Raises `UserError` for an empty ledger,
    an arm without replicates, unequal replicates, a missing prediction and a score that is not a number.
    """
    if ledger.empty:
        raise UserError("table ledger is empty: nothing was searched, so there is nothing to report")
    arms = [arm["name"] for arm in study["arms"]]
    endpoint, info = primary.of(study), study["dataset_info"]
    rows = _replicates(replicates, arms, endpoint, int(info["classes"]), bool(study["replication"]["refit"]))
    losses = Losses(rows, predictions, info)
    if endpoint.loss:
        errors = losses.of(endpoint.loss)
        _agree(rows, errors, endpoint)
    else:
        errors = {arm: rows.loc[rows["arm"] == arm, endpoint.metric].to_numpy(float) for arm in arms}
    return Evidence(
        study=study,
        environment=environment,
        ledger=ledger.drop_duplicates("trial_id", keep="last"),
        history=history.drop_duplicates(["member_id", "epoch", "metric"], keep="last"),
        replicates=rows,
        errors=errors,
        nll=losses.of("nll") if endpoint.task == "classify" else {},
        search=rows.loc[rows["arm"] == arms[0], "search"].to_numpy(np.int64),
        importance=_last(optional, "importance", ["arm", "search", "parameter"]),
        battery=_last(optional, "battery", ["replicate_id", "metric", "x"]),
        runs=_last(optional, "runs", ["own_id"]),
    )


def _last(given: Mapping[str, pd.DataFrame], name: str, key: list[str]) -> pd.DataFrame:
    """A table that an execution may lack; of a row written twice the last one counts."""
    frame = given.get(name, pd.DataFrame(columns=SCHEMAS[name].names))
    return frame.drop_duplicates(key, keep="last")


def _replicates(
    replicates: pd.DataFrame, arms: list[str], endpoint: Primary, classes: int, refit: bool
) -> pd.DataFrame:
    rows = replicates.drop_duplicates("replicate_id", keep="last")
    rows = rows[rows["arm"].isin(arms)].copy()
    for arm in arms:
        if not (rows["arm"] == arm).any():
            raise UserError(f"table replicates: no row of arm {arm!r}; let the replicate phase finish first")
    rows["arm"] = pd.Categorical(rows["arm"], categories=arms, ordered=True)
    rows = rows.sort_values(["arm", "replicate"], ignore_index=True)
    rows["arm"] = rows["arm"].astype(str)
    rows["failed"] = rows["outcome"] == "failed"
    for column, chance in {
        "test/error": 1 - 1 / classes,
        "test/nll": math.log(classes),
        "test/nll_scaled": math.log(classes),
        "val/error": 1 - 1 / classes,
        "val/nll_scaled": math.log(classes),
    }.items():
        if column in rows or endpoint.task == "classify":
            rows[column] = rows.get(column, pd.Series(np.nan, rows.index)).mask(rows["failed"], chance)
    if endpoint.metric not in rows:
        raise UserError(f"table replicates has no {endpoint.metric}, which this study compares: are these its models?")
    if endpoint != primary.ERROR:
        if rows["failed"].all():
            raise UserError(f"table replicates: no replicate finished, so nothing has a {endpoint.name}")
        for column in {endpoint.metric, endpoint.validation()} & set(rows):
            known = rows.loc[~rows["failed"], column]
            rows[column] = rows[column].mask(rows["failed"], known.max() if endpoint.smaller_is_better else known.min())
    if refit:  # a score on images that were trained on is none, nor is the chance score of those that failed
        rows[[column for column in rows if str(column).startswith("val/")]] = np.nan
    require_finite(rows, endpoint.metric)
    _paired(rows, arms)
    return rows


def _paired(rows: pd.DataFrame, arms: list[str]) -> None:
    """Replicate i must be there once in every arm, and belong to the same search."""
    sets = {arm: list(rows.loc[rows["arm"] == arm, ["replicate", "search"]].itertuples(index=False)) for arm in arms}
    every = set().union(*sets.values())
    for arm, found in sets.items():
        if missing := every - set(found):
            number, search = min(missing)
            raise UserError(
                f"table replicates: arm {arm!r} has no replicate {number} of search {search}, which another arm has; "
                "paired comparisons need the same replicates in every arm: resume the replicate phase"
            )
        if len(found) > len(set(found)):
            raise UserError(f"table replicates: arm {arm!r} has two replicates of one number: {sorted(found)}")


def require_finite(rows: pd.DataFrame, column: str) -> None:
    """Raises `UserError` naming the first replicate whose score is not a number."""
    bad = rows[~np.isfinite(rows[column].astype(float))]
    if len(bad):
        raise UserError(
            f"table replicates: {column} of {bad['replicate_id'].iloc[0]} is not a finite number; "
            "mark the replicate as failed, or evaluate it again"
        )


class Losses:
    """The test losses of every replicate at the posterior mean, example by example, from the table of predictions."""

    def __init__(self, rows: pd.DataFrame, predictions: pd.DataFrame, info: Mapping[str, Any]) -> None:
        self._rows = rows
        self._mean = mean = predictions[predictions["evaluation"] == "mean"]
        codes, ids = pd.factorize(mean["replicate_id"])
        self._examples = np.unique(mean["example"]) if len(mean) else np.arange(info["test"])
        if len(self._examples) != info["test"]:
            raise UserError(
                f"table predictions holds {len(self._examples)} test examples, study.json says {info['test']}"
            )
        self._cells = (codes, np.searchsorted(self._examples, mean["example"].to_numpy()))
        self._place = {name: i for i, name in enumerate(ids)}
        self._chance = {"error": 1 - 1 / int(info["classes"]), "nll": math.log(int(info["classes"]))}

    def of(self, name: str) -> dict[str, Array]:
        """A loss as [replicate, example] an arm. A replicate that failed has chance, or else the worst there is."""
        loss = np.full((len(self._place), len(self._examples)), np.nan)
        loss[self._cells] = self._recorded(name)  # of a cell written twice the last stays
        there = np.isfinite(loss).any(axis=0) if name == "neg_ais" else slice(None)  # the first test images only
        loss, examples = loss[:, there], self._examples[there]
        done = self._rows[~self._rows["failed"]]
        found = {replicate: _row(replicate, self._place, loss, examples) for replicate in done["replicate_id"]}
        lost = np.full(len(examples), self._chance.get(name, np.nan))
        if name not in self._chance:
            lost = np.max(list(found.values()), axis=0)
        arms = self._rows.groupby("arm", sort=False)["replicate_id"]
        return {str(arm): np.stack([found.get(replicate, lost) for replicate in own]) for arm, own in arms}

    def _recorded(self, name: str) -> Array:
        column: Array = self._mean[COLUMNS.get(name, name)].to_numpy(float)
        return {"error": 1.0 - column, "neg_elbo": -column}.get(name, column)


def _row(replicate: str, place: Mapping[str, int], loss: Array, examples: npt.NDArray[np.int64]) -> Array:
    if replicate not in place:
        raise UserError(f"table predictions: nothing of replicate {replicate}; evaluate it again")
    row: Array = loss[place[replicate]]
    if not np.isfinite(row).all():
        example = examples[int(np.flatnonzero(~np.isfinite(row))[0])]
        raise UserError(f"table predictions: replicate {replicate} has no finite loss for test example {example}")
    return row


def _agree(rows: pd.DataFrame, errors: Mapping[str, Array], endpoint: Primary) -> None:
    """The two records of a replicate's endpoint must be one number (float32 apart); failed ones have no record."""
    for arm, table in errors.items():
        own = rows[rows["arm"] == arm]
        stated, found = own[endpoint.metric].to_numpy(float), table.mean(axis=1)
        known = own["outcome"].to_numpy() != "failed" if endpoint != primary.ERROR else np.full(len(own), True)
        for i in np.flatnonzero(known & (np.abs(stated - found) > 1e-5 * np.maximum(1, np.abs(stated)))):
            raise UserError(
                f"replicate {own['replicate_id'].iloc[i]}: table replicates says {endpoint.metric} {stated[i]:.6f}, "
                f"its predictions say {found[i]:.6f}; evaluate it again"
            )
