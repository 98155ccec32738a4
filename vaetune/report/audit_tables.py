"""The section of the search: what early stopping, more trials and each hyperparameter were worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from vaetune.report import audit
from vaetune.report.document import Cell, Figure, Table, Text, of, word
from vaetune.report.evidence import Evidence
from vaetune.report.panels import panels
from vaetune.report.words import MISSING, count, in_per_cent, number, percent, points, signed

RANDOM = (
    "The audit slice: each arm's first trials, drawn at random and run to their end whatever their scores. It "
    "describes random configurations, not those that the sampler goes on to propose."
)


def audit_blocks(found: Evidence) -> list[Figure | Table | Text]:
    """Early stopping, the worth of more trials, the winner's curse, and what mattered."""
    share = in_per_cent(found.study["objective"]["metric"])
    score: Callable[[float], str] = percent if share else number
    difference: Callable[[float], str] = points if share else signed
    blocks: list[Figure | Table | Text] = [Text(RANDOM), *_stopping(found, difference), *_expected(found, share, score)]
    return [*blocks, *_curse(found, score, difference), *_importance(found)]


def _stopping(found: Evidence, difference: Callable[[float], str]) -> list[Table]:
    table = audit.stopping(found)
    if table.empty:
        return []
    reduction = count(found.study["budget"]["reduction"])
    return [
        Table(
            "stopping",
            "Early stopping, judged by trials that were not stopped",
            table,
            {
                "Arm": word("arm"),
                "Rung, epochs": of("rung", count),
                "Trials": of("trials", count),
                "Spearman": of("spearman", lambda x: _known(x, _rho)),
                "95 % interval of ρ": lambda r: _interval(r, "low", "high", _rho),
                "Regret": of("regret", lambda x: _known(x, difference)),
                "95 % interval of regret": lambda r: _interval(r, "regret_low", "regret_high", difference),
            },
            "Spearman: rank correlation of the scores at the rung with the final ones; its interval by Fisher's z with "
            f"Bonett and Wright's variance, {MISSING} below four trials. Regret: how much worse the best final score "
            f"of the trials that would go on (the best 1 in {reduction} of these) is than the best of all; its "
            "interval by the bootstrap over trials. With few trials both intervals are wide, and say so.",
        )
    ]


def _expected(found: Evidence, share: bool, score: Callable[[float], str]) -> list[Figure]:
    curves = audit.expected_best(found)
    if curves.empty:
        return []
    wide = curves.pivot(index="arm", columns="trials", values="mean").reindex(found.arms).dropna(how="all")
    wide.columns = pd.Index([f"k = {k}" for k in wide.columns])
    wide = wide.reset_index()
    columns: dict[str, Cell] = {"Arm": word("arm")} | {str(k): of(str(k), score) for k in wide.columns[1:]}
    scaled = curves.assign(**{c: curves[c] * (100 if share else 1) for c in ("mean", "least", "greatest")})
    span = float(scaled["mean"].min()), float(scaled["mean"].max())
    unit = ", %" if share else ""
    metric = found.study["objective"]["metric"]
    return [
        Figure(
            "expected",
            f"Expected best {metric} of k random trials{unit}",
            panels(scaled, "trials", " %" if share else "", span),
            Table("expected", f"Expected best {metric} of k random trials{unit}", wide, columns),
            "Dodge et al. (2019), from the audit slice alone: the estimate holds for independent draws only, so not "
            "for trials that a sampler proposed after seeing others. Band: one standard deviation of the best of k. A "
            "curve that still falls at its end belongs to an arm to which more trials would still give something. A "
            "failed trial counts as the worst of any arm.",
        )
    ]


def _curse(found: Evidence, score: Callable[[float], str], difference: Callable[[float], str]) -> list[Table]:
    table = audit.winners_curse(found)
    if table["gap"].isna().all():
        return []
    return [
        Table(
            "winners_curse",
            "The best trial of the search, trained again",
            table,
            {
                "Arm": word("arm"),
                "Score in search": of("search", score),
                "On fresh seeds, same fold": of("same_fold", score),
                "Winner's curse": of("gap", lambda x: _known(x, difference)),
                "95 % interval": lambda r: _interval(r, "gap_low", "gap_high", difference),
                "On the other fold": of("other_fold", score),
                "Fresh seeds": lambda r: count(r["fresh_seeds"]) + (f" ({r['failed']} failed)" if r["failed"] else ""),
            },
            f"{found.study['objective']['metric']} of each arm's best trial. Winner's curse: how much worse the same "
            "configuration scores on fresh seeds and the same validation images, which is what choosing the luckiest "
            "of many trials gave away; interval by t over fresh seeds. The other fold: as many validation images "
            "that were training images in search, with the first ones in training instead.",
        )
    ]


def _importance(found: Evidence) -> list[Table | Text]:
    table = found.importance
    if table.empty:
        return [Text("No arm left enough finished trials to say which hyperparameter mattered.")]
    wide = table.groupby(["arm", "parameter"], sort=False)["importance"].mean().unstack().reindex(found.arms)
    wide = wide[list(table["parameter"].drop_duplicates())]
    wide.insert(0, "trials", table.drop_duplicates(["arm", "search"]).groupby("arm")["trials"].sum())
    wide = wide.dropna(subset=["trials"]).reset_index()
    columns: dict[str, Cell] = {"Arm": word("arm"), "Trials": of("trials", count)}
    shared = [str(name) for name in wide.columns[2:] if wide[name].notna().all()]
    own = [str(name) for name in wide.columns[2:] if name not in shared]
    columns |= {name: of(name, lambda x: percent(x, 0)) for name in shared}
    if own:  # in one column: most arms have none or one of them
        columns["Of its own"] = lambda r: (
            ", ".join(f"{name} {percent(r[name], 0)}" for name in own if pd.notna(r[name])) or MISSING
        )
    evaluator = table["evaluator"].iloc[-1]
    return [
        Table(
            "importance",
            "What mattered in each arm's search, %",
            wide,
            columns,
            f"Share of each hyperparameter by {evaluator} over the trials that finished (means over searches). "
            "A handful of trials gives a rough picture only, and the "
            "trials that a sampler proposed are not spread evenly.",
        )
    ]


def _interval(row: Mapping[str, Any], low: str, high: str, words: Callable[[float], str]) -> str:
    return MISSING if pd.isna(row[low]) else f"{words(row[low])} to {words(row[high])}"


def _known(value: float, words: Callable[[float], str]) -> str:
    return MISSING if pd.isna(value) else words(value)


def _rho(value: float) -> str:
    return signed(value, 2)
