"""What the audit slice and the re-seeded trials say about the search; no comparison of arms uses any of it.

The slice is each arm's random start-up: independent draws, run unstopped. It describes random configurations, not
those that the sampler proposes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from vaetune.report.evidence import Evidence
from vaetune.report.statistics import ALPHA, RESAMPLES, Array

Ranks = npt.NDArray[np.int64]


def stopping(evidence: Evidence) -> pd.DataFrame:
    """One row an arm and rung: does the score there foretell the final one, and what would stopping there have cost?

    `trials` of the audit slice that were scored at the rung and went on to finish; `spearman` between the two rankings
    (ties of the objective broken as in search), with the interval of `rank_interval`; `regret`, how much worse the best
    final score of those that go on is than that of all, if the best 1 / reduction of these trials go on, with a
    percentile interval of the bootstrap over trials. In units of the objective; NaN below two trials.
    """
    rows = []
    for arm in evidence.arms:
        slice = audit(evidence, arm)
        for rung in _rungs(evidence.study["budget"], int(slice["length"].max()) if len(slice) else 0):
            there = slice[(slice["outcome"] == "finished") & (slice["length"] > rung)]
            scored = _at(evidence, there, rung)
            there = there.set_index("trial_id").loc[scored.index]
            early, late = _ranks(scored.to_numpy(float)), _ranks(_scores(evidence, there))
            found = float(stats.spearmanr(early, late).statistic) if _varied(early) and _varied(late) else np.nan
            low, high = rank_interval(found, len(early))
            regret = dict.fromkeys(("regret", "regret_low", "regret_high"), np.nan)
            if len(early) > 1:
                regret = _regret(early, _scores(evidence, there)[:, 0], int(evidence.study["budget"]["reduction"]))
            row = {"arm": arm, "rung": rung, "trials": len(early), "spearman": found, "low": low, "high": high}
            rows.append(row | regret)
    columns = ["arm", "rung", "trials", "spearman", "low", "high", "regret", "regret_low", "regret_high"]
    return pd.DataFrame(rows, columns=columns)


def rank_interval(rho: float, n: int) -> tuple[float, float]:
    """The 95 % interval of Spearman's ρ over n pairs by Fisher's z with Bonett and Wright's variance (2000, eq. 2).

    A perfect order is taken half a step of ρ short of it, where z is finite, and its own end of the interval is ±1.
    NaN for fewer than four pairs, of which no interval is known.
    """
    if n < 4 or math.isnan(rho):
        return np.nan, np.nan
    most = 1 - 6 / (n * (n**2 - 1))
    inner = min(max(rho, -most), most)
    half = float(stats.norm.ppf(1 - ALPHA / 2)) * math.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
    return (-1.0 if rho < -most else low), (1.0 if rho > most else high)


def expected_best(evidence: Evidence) -> pd.DataFrame:
    """One row an arm and number of trials k: the best validation score that k random trials are expected to reach.

    Dodge et al. (2019), Show your work, eq. 5: k draws with replacement from the empirical distribution of the slice's
    n scores; `least` and `greatest` are one standard deviation of that best away. Valid for independent draws, hence
    for the audit slice alone. A failed trial has the worst score of any arm.
    """
    slices = {arm: audit(evidence, arm) for arm in evidence.arms}
    sign = _sign(evidence)
    finals = {arm: sign * slice["objective"].to_numpy(float) for arm, slice in slices.items()}
    known = np.concatenate(list(finals.values()))
    known = known[np.isfinite(known)]
    rows = []
    for arm, values in finals.items():
        if not len(known):
            break
        values = np.sort(np.where(np.isfinite(values), values, known.max()))
        n = len(values)
        for k in range(1, n + 1):
            left = (np.arange(n, -1, -1) / n) ** k
            weights = left[:-1] - left[1:]
            mean = float(weights @ values)
            sd = math.sqrt(max(float(weights @ values**2) - mean**2, 0.0))
            ends = sorted((sign * (mean - sd), sign * (mean + sd)))
            rows.append({"arm": arm, "trials": k, "mean": sign * mean, "least": ends[0], "greatest": ends[1]})
    return pd.DataFrame(rows, columns=["arm", "trials", "mean", "least", "greatest"])


def winners_curse(evidence: Evidence) -> pd.DataFrame:
    """One row an arm: the best trial's score in search, and what its configuration scored on fresh seeds.

    `gap` is how much worse the fresh seeds of the same validation fold were (positive: search was too optimistic), in
    units of the objective, with its t interval over fresh seeds; means over the arm's searches. `other_fold` has the
    fresh seeds of the fold that search has not seen. Runs that failed are left out and counted.
    """
    sign = _sign(evidence)
    rows = []
    for arm in evidence.arms:
        own = evidence.ledger[evidence.ledger["arm"] == arm]
        search, select = own[(own["phase"] == "search") & (own["outcome"] == "finished")], own[own["phase"] == "select"]
        found: list[tuple[float, Array, Array]] = []
        failed = 0
        for which, again in select[select["number"] == 0].groupby("search"):
            trials = search[(search["search"] == which) & search["config_hash"].isin(set(again["config_hash"]))]
            failed += int((again["outcome"] == "failed").sum())
            scores = [again.loc[again["slice"] == fold, "objective"].dropna().to_numpy(float) for fold in FOLDS]
            if len(trials) and len(scores[0]):
                found.append(((sign * trials["objective"]).min(), scores[0], scores[1]))
        row: dict[str, Any] = {"arm": arm, "fresh_seeds": sum(len(same) for _, same, _ in found), "failed": failed}
        row |= dict.fromkeys(("search", "same_fold", "other_fold", "gap", "gap_low", "gap_high"), np.nan)
        if found:
            gaps = np.concatenate([sign * same - best for best, same, _ in found])
            elsewhere = np.concatenate([other for *_, other in found])
            row |= {
                "search": sign * float(np.mean([best for best, *_ in found])),
                "same_fold": float(np.mean(np.concatenate([same for _, same, _ in found]))),
                "other_fold": float(elsewhere.mean()) if len(elsewhere) else np.nan,
                "gap": float(gaps.mean()),
            }
            if len(gaps) > 1:
                half = float(stats.t.ppf(1 - ALPHA / 2, len(gaps) - 1) * stats.sem(gaps))
                row |= {"gap_low": row["gap"] - half, "gap_high": row["gap"] + half}
        rows.append(row)
    return pd.DataFrame(rows)


FOLDS = ("fold0", "fold1")
"""The validation images of search, and as many others that were training images then."""


def audit(evidence: Evidence, arm: str) -> pd.DataFrame:
    """The arm's audit slice, of all its searches."""
    ledger = evidence.ledger
    return ledger[(ledger["arm"] == arm) & (ledger["phase"] == "search") & (ledger["slice"] == "audit")]


def _rungs(budget: Mapping[str, Any], longest: int) -> list[int]:
    rungs, epoch = [], int(budget["grace"])
    while epoch < longest:
        rungs.append(epoch)
        epoch *= int(budget["reduction"])
    return rungs


def _sign(evidence: Evidence) -> int:
    return 1 if evidence.study["objective"]["direction"] == "minimize" else -1


def _at(evidence: Evidence, trials: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """Objective (smaller is better) and tie-breaker of the trials at an epoch; only of those that have both."""
    objective = evidence.study["objective"]
    history = evidence.history
    then = history[(history["epoch"] == epoch) & history["member_id"].isin(set(trials["trial_id"]))]
    table = then.pivot(index="member_id", columns="metric", values="value")
    table = table.reindex(columns=[objective["metric"], objective["tie"]]).dropna()
    table[objective["metric"]] *= _sign(evidence)
    return table


def _scores(evidence: Evidence, trials: pd.DataFrame) -> Array:
    """Final objective (smaller is better) and tie-breaker [trial, 2]."""
    table: Array = trials[["objective", "tie"]].to_numpy(float) * np.array([_sign(evidence), 1])
    return table


def _ranks(scores: Array) -> Ranks:
    """0 for the best; equal scores share a rank."""
    ranks: Ranks = np.unique(scores, axis=0, return_inverse=True)[1].reshape(-1)
    return ranks


def _varied(ranks: Ranks) -> bool:
    return len(np.unique(ranks)) > 1


def _regret(early: Ranks, final: Array, reduction: int) -> dict[str, float]:
    """The regret of stopping all but the best 1 / reduction at the rung, and its percentile interval."""
    n = len(early)
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    draws[0] = np.arange(n)
    ranks, finals = early[draws], final[draws]
    better = (ranks[:, None, :] < ranks[:, :, None]).sum(axis=2)
    kept = np.where(better < math.ceil(n / reduction), finals, np.inf)
    regret = kept.min(axis=1) - finals.min(axis=1)
    low, high = np.quantile(regret, [ALPHA / 2, 1 - ALPHA / 2])
    return {"regret": float(regret[0]), "regret_low": float(low), "regret_high": float(high)}
