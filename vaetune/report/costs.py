"""What each arm was given and what it spent, and what in the search asks for a second look."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vaetune.report.evidence import Evidence
from vaetune.report.words import count, number, percent, plural

EDGE = 0.02  # a winner closer than this share of its range to an end is flagged


def ledger(evidence: Evidence) -> pd.DataFrame:
    """One row an arm: trials by outcome, what each phase spent, and the re-seeded winner's validation score.

    `half_budget` is the score of the winner among the first half of the trials, `full_budget` among all: the best
    mean over fresh seeds (a failed one counting as the arm's worst) of the configurations that the select phase
    trained again, averaged over searches; NaN where none of the half was. Epochs are training epochs, seconds the
    training time of members.
    """
    rows = []
    for arm in evidence.study["arms"]:
        own = evidence.ledger[evidence.ledger["arm"] == arm["name"]]
        search, select = own[own["phase"] == "search"], own[own["phase"] == "select"]
        replicated = evidence.of(arm["name"])
        rows.append(
            {
                "arm": arm["name"],
                "hyperparameters": len(arm["space"]),
                "contains_plain": bool(arm["contains_plain"]),
                "trials": len(search),
                **{outcome: int((search["outcome"] == outcome).sum()) for outcome in ("finished", "stopped", "failed")},
                "half_budget": _winner(evidence.study, search, select, 0.5),
                "full_budget": _winner(evidence.study, search, select, 1.0),
                **{f"{name}_epochs": int(t["epochs"].sum()) for name, t in _phases(search, select, replicated)},
                **{f"{name}_seconds": float(t["seconds"].sum()) for name, t in _phases(search, select, replicated)},
            }
        )
    return pd.DataFrame(rows)


def flags(evidence: Evidence, costs: pd.DataFrame) -> list[str]:
    """What a reader should know before believing the numbers, a sentence each."""
    out = []
    if costs["trials"].nunique() > 1:
        out.append(f"The arms spent unequal numbers of trials: {_listed(costs, 'trials')}.")
    for row in costs.to_dict("records"):
        if row["finished"] == 0:
            out.append(f"{row['arm']}: no search trial ran to its end; its configuration was not chosen by a search.")
        if row["failed"]:
            own = evidence.ledger[(evidence.ledger["arm"] == row["arm"]) & (evidence.ledger["phase"] == "search")]
            failed = own[own["outcome"] == "failed"]
            out.append(f"{row['arm']}: {row['failed']} of {plural(row['trials'], 'trial')} failed{_reasons(failed)}.")
    endpoint = evidence.endpoint
    chance = 1 - 1 / int(evidence.study["dataset_info"]["classes"])
    scored = f"scores chance error, {percent(chance)} %"
    if endpoint.loss != "error":
        scored = f"counts as the worst of all replicates{', image by image' if endpoint.loss else ''}"
    for arm in evidence.arms:
        own = evidence.of(arm)
        if own["failed"].any():
            out.append(
                f"{arm}: {int(own['failed'].sum())} of {plural(len(own), 'replicate')} failed"
                f"{_reasons(own[own['failed']])}; each {scored}."
            )
    for arm in evidence.study["arms"]:
        out += _at_the_edge(evidence, arm)
    return out


def _phases(search: pd.DataFrame, select: pd.DataFrame, replicated: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [("search", search), ("select", select), ("replicate", replicated)]


def _winner(study: Mapping[str, Any], search: pd.DataFrame, select: pd.DataFrame, share: float) -> float:
    """The best re-seeded mean among configurations that the first `share` of the trials had found."""
    best, worst = (min, select["objective"].max()) if _minimized(study) else (max, select["objective"].min())
    winners = []
    for which, trials in search.groupby("search"):
        found = set(trials.loc[trials["number"] < share * study["budget"]["trials"], "config_hash"])
        again = select[(select["search"] == which) & select["config_hash"].isin(found)]
        scores = again.fillna({"objective": worst}).groupby("config_hash")["objective"].mean()
        winners.append(best(scores) if len(scores) else np.nan)
    return float(np.mean(winners)) if winners else np.nan


def _minimized(study: Mapping[str, Any]) -> bool:
    return bool(study["objective"]["direction"] == "minimize")


def _at_the_edge(evidence: Evidence, arm: Mapping[str, Any]) -> list[str]:
    own = evidence.ledger[(evidence.ledger["arm"] == arm["name"]) & (evidence.ledger["phase"] == "search")]
    chosen = own[own["config_hash"].isin(set(evidence.of(arm["name"])["config_hash"]))]
    if chosen.empty and arm["space"]:
        return [f"{arm['name']}: the ledger does not hold the replicated configuration; its ranges were not checked."]
    out = []
    for params in chosen.drop_duplicates("config_hash")["params"].map(json.loads):
        for dimension in arm["space"]:
            if "low" in dimension and dimension["name"] in params:
                out += _edge(arm["name"], dimension, float(params[dimension["name"]]))
    return out


def _edge(arm: str, dimension: Mapping[str, Any], value: float) -> list[str]:
    low, high, log = float(dimension["low"]), float(dimension["high"]), bool(dimension.get("log"))
    if low == high:
        return []
    where = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    if EDGE < where < 1 - EDGE:
        return []
    end = "lower" if where <= EDGE else "upper"
    span = f"{number(low)} to {number(high)}{' (log scale)' if log else ''}"
    return [f"{arm}: {dimension['name']} = {number(value)} lies at the {end} end of {span}: widen this space."]


def _reasons(rows: pd.DataFrame) -> str:
    reasons = sorted({reason.strip().splitlines()[-1] for reason in rows["reason"] if reason.strip()})
    return f" ({'; '.join(reasons)})" if reasons else ""


def _listed(costs: pd.DataFrame, column: str) -> str:
    return ", ".join(f"{arm} {count(n)}" for arm, n in zip(costs["arm"], costs[column], strict=True))
