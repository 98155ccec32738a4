"""Each arm in numbers: scores, scales, learning curves, and the secondary metrics of the declared comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vaetune.report import statistics
from vaetune.report.comparisons import Verdict, over_searches
from vaetune.report.contrasts import Contrast
from vaetune.report.evidence import Evidence
from vaetune.report.statistics import ALPHA, Array

SECONDARY = [
    *("test/nll", "test/nll_scaled", "test/brier", "test/ece", "test/ece_scaled", "test/error_k", "test/nll_k"),
    *("gap/error", "gap/nll"),
]
METRICS = [
    *SECONDARY,
    *("val/error", "val/nll_scaled", "train/error", "train/nll", "rate/nats", "rate/bits", "latent/active_units"),
    *("scale/temperature", "scale/mu_rms", "scale/sigma_rms", "scale/snr", "scale/head_norm", "scale/logits_rms"),
]
IN_POINTS = frozenset({"test/error_k", "test/ece", "test/ece_scaled", "gap/error", "val/error", "train/error"})


def arms(evidence: Evidence) -> pd.DataFrame:
    """One row an arm.

    `test/error` has the two-way 95 % interval (seeds and test examples) in `_low` and `_high`. Every other metric
    is a mean over the replicates that have it, with the half width of its t interval in `_half`: conditional on
    the test set, NaN below two replicates. Shares are fractions, NLLs and rates nats per example.
    """
    rows = []
    for arm in evidence.study["arms"]:
        own = evidence.of(arm["name"])
        errors = evidence.errors[arm["name"]]
        estimate = statistics.two_way(over_searches(errors, evidence.search))
        low, high = estimate.interval()
        row = {
            "arm": arm["name"],
            "summary": arm["summary"],
            "replicates": len(own),
            "failed": int(own["failed"].sum()),
            "test/error": estimate.mean,
            "test/error_low": max(low, 0.0),
            "test/error_high": min(high, 1.0),
            "test/error_iqm": statistics.interquartile_mean(errors.mean(axis=1)),
        }
        for metric in METRICS:
            row[metric], row[f"{metric}_half"] = _mean(own, metric)
        row |= {
            "parameters": int(own["parameters"].median()),
            "epochs": float(own["epochs"].mean()),
            "seconds": float(own["seconds"].mean()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def published(evidence: Evidence, by_arm: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and source: the error that others published, beside the arm's row in `by_arm`."""
    given = evidence.study["published"]
    rows = [(arm, source, error) for arm in evidence.arms for source, error in given.get(arm, {}).items()]
    table = pd.DataFrame(rows, columns=["arm", "source", "published"])
    return table.merge(by_arm[["arm", "test/error", "test/error_low", "test/error_high"]], on="arm")


def replicates(evidence: Evidence) -> pd.DataFrame:
    """One row an arm: the quartiles of its replicates' test errors."""
    rows = []
    for arm in evidence.arms:
        means = evidence.errors[arm].mean(axis=1)
        names = ("least", "lower_quartile", "median", "upper_quartile", "greatest")
        quantiles = dict(zip(names, np.quantile(means, [0, 0.25, 0.5, 0.75, 1]), strict=True))
        rows.append({"arm": arm, "replicates": len(means), "sd": means.std(ddof=1), **quantiles})
    return pd.DataFrame(rows)


def curves(evidence: Evidence, metric: str = "val/error") -> pd.DataFrame:
    """One row an arm and epoch: mean, least and greatest value over the replicates that report it."""
    chosen = evidence.history[(evidence.history["metric"] == metric) & evidence.history["value"].notna()]
    ids = evidence.replicates[["replicate_id", "arm"]]
    joined = chosen.merge(ids, left_on="member_id", right_on="replicate_id")
    groups = joined.groupby(["arm", "epoch"])["value"]
    table = groups.agg(mean="mean", least="min", greatest="max", replicates="count").reset_index()
    table["arm"] = pd.Categorical(table["arm"], categories=evidence.arms, ordered=True)
    return table.sort_values(["arm", "epoch"], ignore_index=True).astype({"arm": str})


def at_epochs(curves: pd.DataFrame, most: int = 8) -> pd.DataFrame:
    """The curves' means as one row an arm, at no more than `most` epochs."""
    epochs = np.unique(curves["epoch"])
    kept = epochs[np.unique(np.linspace(0, len(epochs) - 1, min(most, len(epochs))).round().astype(int))]
    table = curves[curves["epoch"].isin(kept)].pivot(index="arm", columns="epoch", values="mean")
    table = table.reindex(curves["arm"].drop_duplicates())
    table.columns = pd.Index([f"epoch {epoch}" for epoch in table.columns])
    return table.reset_index()


def secondary(evidence: Evidence, declared: Sequence[Contrast]) -> pd.DataFrame:
    """The declared comparisons by other metrics: exploratory, adjusted by Benjamini–Hochberg over this whole table.

    NLL from the predictions, by the two-way interval; all else by t over replicates, conditional on the test set,
    without the replicates of which an arm of the comparison has no value.
    """
    rows = []
    for contrast in declared:
        for metric in SECONDARY:
            if metric == "test/nll":
                values: Array = statistics.combine(contrast.weights, evidence.nll)
                estimate = statistics.two_way(over_searches(values, evidence.search))
            else:
                column = {arm: evidence.of(arm).get(metric) for arm, _ in contrast.weights}
                if any(series is None for series in column.values()):
                    continue
                scores = {arm: np.asarray(series, float) for arm, series in column.items()}
                values = statistics.combine(contrast.weights, scores)
                there = np.isfinite(values)
                kept = over_searches(values[there], evidence.search[there])
                if len(kept) < 2:
                    continue
                estimate = statistics.over_rows(kept)
            low, high = estimate.interval()
            row = {"comparison": contrast.name, "metric": metric, "difference": estimate.mean, "low": low, "high": high}
            rows.append(row | {"rows": estimate.rows, "p": estimate.p})
    table = pd.DataFrame(rows, columns=["comparison", "metric", "difference", "low", "high", "rows", "p"])
    table["p_adjusted"] = statistics.benjamini_hochberg(list(table["p"]))
    return table


def exploratory(evidence: Evidence) -> tuple[str, pd.DataFrame]:
    """The plain arm, and one row for every other arm against it: test error, adjusted by Benjamini–Hochberg.

    The plain arm is the first of those without overrides that search the fewest numbers; without any such arm the
    name is empty and so is the table.
    """
    bare = sorted((a for a in evidence.study["arms"] if not a["overrides"]), key=lambda a: len(a["space"]))
    plain = str(bare[0]["name"]) if bare else ""
    rows = []
    for arm in evidence.arms if plain else []:
        if arm == plain:
            continue
        values = statistics.combine([(arm, 1.0), (plain, -1.0)], evidence.errors)
        estimate = statistics.two_way(over_searches(values, evidence.search))
        low, high = estimate.interval()
        rows.append({"arm": arm, "difference": estimate.mean, "low": low, "high": high, "p": estimate.p})
    table = pd.DataFrame(rows, columns=["arm", "difference", "low", "high", "p"])
    table["p_adjusted"] = statistics.benjamini_hochberg(list(table["p"]))
    return plain, table


def sampling(evidence: Evidence) -> pd.DataFrame:
    """One row an arm that is noisy at test time: error of k samples averaged minus that of one pass at the mean.

    By t over replicates (searches, where there are three), conditional on the test set; Benjamini–Hochberg over the
    table. Replicates that failed are left out.
    """
    rows = []
    for arm in evidence.arms:
        own = evidence.of(arm)
        if "test/error_k" not in own:
            continue
        values = (own["test/error_k"] - own["test/error"]).to_numpy(float)
        there = np.isfinite(values) & ~own["failed"].to_numpy()
        kept = over_searches(values[there], evidence.search[there])
        if len(kept) < 2 or not kept.any():
            continue
        estimate = statistics.over_rows(kept)
        low, high = estimate.interval()
        row = {"arm": arm, "mean_pass": own.loc[there, "test/error"].mean(), "difference": estimate.mean}
        rows.append(row | {"low": low, "high": high, "p": estimate.p})
    table = pd.DataFrame(rows, columns=["arm", "mean_pass", "difference", "low", "high", "p"])
    table["p_adjusted"] = statistics.benjamini_hochberg(list(table["p"]))
    return table


def smaller_gaps(verdicts: Sequence[Verdict], secondary: pd.DataFrame) -> list[str]:
    """Names of comparisons whose train–test gap shrank while the test error did not fall."""
    gap = secondary[(secondary["metric"] == "gap/error") & (secondary["difference"] < 0)]
    smaller = set(gap.loc[gap["p_adjusted"] <= ALPHA, "comparison"])
    return [
        verdict.contrast.name
        for verdict in verdicts
        if verdict.contrast.pair and verdict.outcome != "better" and verdict.contrast.name in smaller
    ]


def _mean(own: pd.DataFrame, metric: str) -> tuple[float, float]:
    values = np.asarray(own.get(metric, pd.Series(dtype=float)), float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values.mean()) if len(values) else np.nan), np.nan
    estimate = statistics.over_rows(values)
    return estimate.mean, estimate.interval()[1] - estimate.mean
