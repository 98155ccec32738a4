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
GENERATIVE = [
    *("test/neg_elbo", "test/bits_per_dimension", "test/neg_iwae", "test/reconstruction", "test/kl"),
    *("test/squared_error", "gap/neg_elbo", "train/neg_elbo", "val/neg_elbo"),
    *("test/transfer_error", "test/neg_ais", "test/mig", "test/dci", "test/sap", "test/factor_vae"),
]
BOUNDS = frozenset(m for m in GENERATIVE if "elbo" in m or "iwae" in m or "ais" in m) | {"test/reconstruction"}
METRICS = [
    *SECONDARY,
    *("val/error", "val/nll_scaled", "train/error", "train/nll", "rate/nats", "rate/bits", "latent/active_units"),
    *("scale/temperature", "scale/mu_rms", "scale/sigma_rms", "scale/snr", "scale/head_norm", "scale/logits_rms"),
]
IN_POINTS = frozenset(
    {"test/error", "test/error_k", "test/ece", "test/ece_scaled", "gap/error", "val/error", "train/error"}
    | {"test/mig", "test/dci", "test/sap", "test/factor_vae"}
)


def arms(evidence: Evidence) -> pd.DataFrame:
    """One row an arm.

    The endpoint has its 95 % interval (two-way, over seeds and test examples, where it is a mean of these) in `_low`
    and `_high`. Every other metric is a mean over the replicates that have it, with the half width of its t interval in
    `_half`: conditional on the test set, NaN below two replicates. Shares are fractions, NLLs and rates nats per
    example.
    """
    rows = []
    endpoint = evidence.endpoint
    main, bounds = endpoint.metric, (0.0, 1.0) if endpoint.values == "%" else (-np.inf, np.inf)
    others = [m for m in [*METRICS, *measured(evidence, [*GENERATIVE, "test/error"])] if m != main]
    for arm in evidence.study["arms"]:
        own = evidence.of(arm["name"])
        errors = evidence.errors[arm["name"]]
        estimate = statistics.estimated(over_searches(errors, evidence.search))
        low, high = estimate.interval()
        row = {
            "arm": arm["name"],
            "summary": arm["summary"],
            "replicates": len(own),
            "failed": int(own["failed"].sum()),
            main: estimate.mean,
            f"{main}_low": max(low, bounds[0]),
            f"{main}_high": min(high, bounds[1]),
            f"{main}_iqm": statistics.interquartile_mean(statistics.by_replicate(errors)),
        }
        for metric in others:
            row[metric], row[f"{metric}_half"] = _mean(own, metric)
        row |= {
            "parameters": int(own["parameters"].median()),
            "epochs": float(own["epochs"].mean()),
            "seconds": float(own["seconds"].mean()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def measured(evidence: Evidence, metrics: Sequence[str]) -> list[str]:
    """Those of the metrics of which a replicate has a value."""
    rows = evidence.replicates
    return [metric for metric in metrics if metric in rows and rows[metric].notna().any()]


def published(evidence: Evidence, by_arm: pd.DataFrame) -> pd.DataFrame:
    """One row an arm and source: the endpoint's value that others published, beside the arm's row in `by_arm`."""
    given = evidence.study["published"]
    rows = [(arm, source, error) for arm in evidence.arms for source, error in given.get(arm, {}).items()]
    table = pd.DataFrame(rows, columns=["arm", "source", "published"])
    return table.merge(by_arm[["arm", *(evidence.endpoint.metric + end for end in ("", "_low", "_high"))]], on="arm")


def replicates(evidence: Evidence) -> pd.DataFrame:
    """One row an arm: the quartiles of its replicates' endpoints."""
    rows = []
    for arm in evidence.arms:
        means = statistics.by_replicate(evidence.errors[arm])
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
    without the replicates of which an arm of the comparison has no value. Bounds compare only between densities, or
    between masses: a Bernoulli's and a Gaussian's do not, and are left out.
    """
    rows = []
    metrics = [
        m for m in [*SECONDARY, *measured(evidence, [*GENERATIVE, "test/error"])] if m != evidence.endpoint.metric
    ]
    for contrast in declared:
        alike = len({_is_density(evidence, arm) for arm, _ in contrast.weights}) == 1
        for metric in metrics:
            if metric in BOUNDS and not alike:
                continue
            if metric == "test/nll" and evidence.nll:
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


def _is_density(evidence: Evidence, arm: str) -> bool:
    """Whether the arm's p(x|z) is a density: whatever is not Bernoulli."""
    (overrides,) = (a["overrides"] for a in evidence.study["arms"] if a["name"] == arm)
    model = overrides.get("model", evidence.study["model"])
    return bool(overrides.get("model.likelihood", model.get("likelihood", "bernoulli")) != "bernoulli")


def exploratory(evidence: Evidence) -> tuple[str, pd.DataFrame]:
    """The plain arm, and one row for every other arm against it: the endpoint, adjusted by Benjamini–Hochberg.

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
        estimate = statistics.estimated(over_searches(values, evidence.search))
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
        if "test/error_k" not in own or "test/error" not in own:
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
