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
from vaetune.report.statistics import Array
from vaetune.storage import Storage
from vaetune.tables import SCHEMAS, Tables


@dataclass(frozen=True)
class Evidence:
    """An execution. `study` and `environment` are its JSON files; the frames are its tables, cleaned.

    `replicates` has one row a replicate in order of arm and replicate number. Where `failed`, its test and
    validation error are chance, (C − 1)/C, and its NLLs log C. `errors[arm]` is 1 − correct and `nll[arm]` the
    log loss in nats, both [replicate, example], of one pass at the posterior mean. `search` [replicate] is the
    number of the search that replicate i of every arm belongs to. `importance`, `battery` and `runs` may be empty.
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
        """The equivalence margin as a fraction; the study states it in points."""
        return float(self.study["margin"]) / 100

    @property
    def examples(self) -> int:
        """How many test examples."""
        return len(self.errors[self.arms[0]][0])

    def of(self, arm: str) -> pd.DataFrame:
        """The arm's replicates."""
        return self.replicates[self.replicates["arm"] == arm]


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
    classes, refit = int(study["dataset_info"]["classes"]), bool(study["replication"]["refit"])
    rows = _replicates(replicates, arms, classes, refit)
    errors, nll = _losses(rows, predictions, arms, study["dataset_info"])
    return Evidence(
        study=study,
        environment=environment,
        ledger=ledger.drop_duplicates("trial_id", keep="last"),
        history=history.drop_duplicates(["member_id", "epoch", "metric"], keep="last"),
        replicates=rows,
        errors=errors,
        nll=nll,
        search=rows.loc[rows["arm"] == arms[0], "search"].to_numpy(np.int64),
        importance=_last(optional, "importance", ["arm", "search", "parameter"]),
        battery=_last(optional, "battery", ["replicate_id", "metric", "x"]),
        runs=_last(optional, "runs", ["own_id"]),
    )


def _last(given: Mapping[str, pd.DataFrame], name: str, key: list[str]) -> pd.DataFrame:
    """A table that an execution may lack; of a row written twice the last one counts."""
    frame = given.get(name, pd.DataFrame(columns=SCHEMAS[name].names))
    return frame.drop_duplicates(key, keep="last")


def _replicates(replicates: pd.DataFrame, arms: list[str], classes: int, refit: bool) -> pd.DataFrame:
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
        rows[column] = rows.get(column, pd.Series(np.nan, rows.index)).mask(rows["failed"], chance)
    if refit:  # a score on images that were trained on is none, nor is the chance score of those that failed
        rows[[column for column in rows if str(column).startswith("val/")]] = np.nan
    require_finite(rows, "test/error")
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


def _losses(
    rows: pd.DataFrame, predictions: pd.DataFrame, arms: list[str], info: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """1 − correct and log loss, [replicate, example] an arm; chance for replicates that failed."""
    mean = predictions[predictions["evaluation"] == "mean"]
    codes, ids = pd.factorize(mean["replicate_id"])
    examples = np.unique(mean["example"]) if len(mean) else np.arange(info["test"])
    if len(examples) != info["test"]:
        raise UserError(f"table predictions holds {len(examples)} test examples, study.json says {info['test']}")
    cells = (codes, np.searchsorted(examples, mean["example"].to_numpy()))
    place = {name: i for i, name in enumerate(ids)}
    recorded = {"error": 1.0 - mean["correct"].to_numpy(float), "nll": mean["log_loss"].to_numpy(float)}
    chance = {"error": 1 - 1 / int(info["classes"]), "nll": math.log(int(info["classes"]))}
    out: dict[str, dict[str, Array]] = {}
    for name, values in recorded.items():
        loss = np.full((len(ids), len(examples)), np.nan)
        loss[cells] = values  # of a cell written twice the last stays
        out[name] = {}
        for arm in arms:
            own = rows[rows["arm"] == arm]
            table = np.full((len(own), len(examples)), chance[name])
            for i, (replicate, failed) in enumerate(zip(own["replicate_id"], own["failed"], strict=True)):
                if not failed:
                    table[i] = _row(replicate, place, loss, examples)
            out[name][arm] = table
    for arm in arms:
        _agree(rows[rows["arm"] == arm], out["error"][arm])
    return out["error"], out["nll"]


def _row(replicate: str, place: Mapping[str, int], loss: Array, examples: npt.NDArray[np.int64]) -> Array:
    if replicate not in place:
        raise UserError(f"table predictions: nothing of replicate {replicate}; evaluate it again")
    row: Array = loss[place[replicate]]
    if not np.isfinite(row).all():
        example = examples[int(np.flatnonzero(~np.isfinite(row))[0])]
        raise UserError(f"table predictions: replicate {replicate} has no finite loss for test example {example}")
    return row


def _agree(own: pd.DataFrame, errors: Array) -> None:
    """The two records of a replicate's test error must be one number (float32 apart)."""
    stated = own["test/error"].to_numpy(float)
    for i in np.flatnonzero(np.abs(stated - errors.mean(axis=1)) > 1e-5):
        raise UserError(
            f"replicate {own['replicate_id'].iloc[i]}: table replicates says test/error {stated[i]:.6f}, its "
            f"predictions say {errors[i].mean():.6f}; evaluate it again"
        )
