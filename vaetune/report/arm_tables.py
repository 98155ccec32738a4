"""The section of the arms: what each one is, scored and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from vaetune.report import figures, links, summaries
from vaetune.report.document import Cell, Figure, Table, of, word
from vaetune.report.evidence import Evidence
from vaetune.report.words import count, decimals, duration, number, percent, spread

LABELS = {
    "test/nll": "NLL",
    "test/nll_scaled": "NLL, scaled",
    "test/brier": "Brier",
    "test/ece": "ECE, %",
    "test/ece_scaled": "ECE, scaled, %",
    "test/error_k": "Error, k samples, %",
    "test/nll_k": "NLL, k samples",
    "val/error": "Validation error, %",
    "train/error": "Training error, %",
    "train/nll": "Training NLL",
    "gap/error": "Gap in error, points",
    "gap/nll": "Gap in NLL",
    "rate/nats": "Rate, nats",
    "rate/bits": "Rate, bits",
    "latent/active_units": "Active units",
    "scale/temperature": "Temperature",
    "scale/mu_rms": "rms μ",
    "scale/sigma_rms": "rms σ",
    "scale/snr": "|μ|/σ",
    "scale/head_norm": "Head norm",
    "scale/logits_rms": "rms logits",
}
SCORES = summaries.SECONDARY[:7]
GAPS = [
    "val/error",
    "train/error",
    "train/nll",
    "gap/error",
    "gap/nll",
    "rate/nats",
    "rate/bits",
    "latent/active_units",
]
SCALES = [name for name in LABELS if name.startswith("scale/")]
SIZES = ["arm", "summary", "parameters", "epochs", "seconds"]
GAP = "A smaller gap without a lower test error is never called regularization."
HALF = "± is the half width of the 95 % t interval over replicates, conditional on the test set."


def arm_blocks(found: Evidence, by_arm: pd.DataFrame) -> list[Figure | Table]:
    """All arms, declared in a comparison or not. `by_arm` is the table of `summaries.arms`."""
    published = summaries.published(found, by_arm)
    to = links.to_replicates(found)
    samples = count(found.study["replication"]["samples"])
    return [
        _errors(found, by_arm),
        _distributions(found, by_arm, published),
        _each(found),
        *([_published(published)] if len(published) else []),
        Table(
            "sizes",
            "What each arm is, and what one replicate cost",
            by_arm[SIZES],
            {
                "Arm": word("arm"),
                "What it is": word("summary"),
                "Parameters": of("parameters", count),
                "Epochs": of("epochs", number),
                "Time": of("seconds", duration),
            },
            "Means per replicate.",
            to,
        ),
        _metrics(
            "scores",
            "Calibration and secondary scores",
            by_arm,
            SCORES,
            "NLL is plain cross-entropy in nats per example. Scaled: by a temperature fitted on validation images. "
            f"k = {samples} samples, probabilities averaged.",
            to,
        ),
        _metrics(
            "gaps",
            "Validation and training scores, gaps and rate",
            by_arm,
            GAPS,
            f"Gap: test − training, plain cross-entropy and error in evaluation mode. {GAP}",
            to,
        ),
        _metrics(
            "scales",
            "Scales",
            by_arm,
            SCALES,
            "Neither noise nor penalty alone has a scale: noise is outgrown by larger μ, a penalty moves its scale "
            "into the head. Read what each half does beside these.",
            to,
        ),
    ]


def _errors(found: Evidence, by_arm: pd.DataFrame) -> Table:
    return Table(
        "arms",
        "Test error",
        by_arm,
        {
            "Arm": word("arm"),
            "Test error, %": of("test/error", percent),
            "95 % interval": lambda r: f"{percent(r['test/error_low'])} to {percent(r['test/error_high'])}",
            "IQM, %": of("test/error_iqm", percent),
            "Replicates": lambda r: count(r["replicates"]) + (f" ({count(r['failed'])} failed)" if r["failed"] else ""),
        },
        "Hard-label error of one pass at the posterior mean, dropout and noise off. The interval covers seeds and test "
        "examples; intervals of two arms may overlap though their paired difference is significant. IQM: mean of the "
        "middle half of the replicates.",
        links.to_replicates(found),
    )


def _each(found: Evidence) -> Table:
    rows = found.replicates
    names = ("arm", "replicate_id", "test/error", "test/nll", "val/error", "epochs", "seconds", "outcome", "reason")
    return Table(
        "each_replicate",
        "Every replicate",
        rows[[name for name in names if name in rows]],
        {
            "Run": word("replicate_id"),
            "Test error, %": of("test/error", percent),
            "NLL": of("test/nll", number),
            "Validation error, %": of("val/error", percent),
            "Epochs": of("epochs", count),
            "Time": of("seconds", duration),
            "Outcome": lambda r: (
                f"{r['outcome']}: {r['reason'].strip().splitlines()[-1]}" if r["reason"] else r["outcome"]
            ),
        },
        "One that failed scores chance.",
        links.to_run(found, "replicate_id"),
        folded=True,
    )


def _distributions(found: Evidence, by_arm: pd.DataFrame, published: pd.DataFrame) -> Figure:
    columns = {"Least": "least", "Lower quartile": "lower_quartile", "Median": "median"}
    columns |= {"Upper quartile": "upper_quartile", "Greatest": "greatest", "SD": "sd"}
    table = Table(
        "replicates",
        "Test error of the replicates, %",
        summaries.replicates(found),
        {"Arm": word("arm"), **{label: of(name, percent) for label, name in columns.items()}},
    )
    picture = figures.distributions(found, by_arm, published)
    return Figure("distributions", "Test error of every replicate, %", picture, table)


def _published(table: pd.DataFrame) -> Table:
    return Table(
        "published",
        "Published elsewhere, beside this study",
        table,
        {
            "Arm": word("arm"),
            "Source": word("source"),
            "Published error, %": of("published", percent),
            "This study, %": of("test/error", percent),
            "95 % interval": lambda r: f"{percent(r['test/error_low'])} to {percent(r['test/error_high'])}",
        },
        "Published elsewhere, with other code, data splits and budgets: shown for orientation, tested nowhere here.",
    )


def _metrics(
    name: str, title: str, by_arm: pd.DataFrame, metrics: Sequence[str], note: str, to: Mapping[str, Cell]
) -> Table:
    there = [metric for metric in metrics if by_arm[metric].notna().any()]
    columns = {"Arm": word("arm")} | {LABELS[metric]: _spread(by_arm, metric) for metric in there}
    kept = ["arm", *(column for metric in metrics for column in (metric, f"{metric}_half"))]
    return Table(name, title, by_arm[kept], columns, f"{note} {HALF}", to)


def _spread(by_arm: pd.DataFrame, metric: str) -> Cell:
    scale = 100.0 if metric in summaries.IN_POINTS else 1.0
    digits = decimals(list(scale * by_arm[f"{metric}_half"]))
    return lambda row: spread(scale * row[metric], scale * row[f"{metric}_half"], digits)
