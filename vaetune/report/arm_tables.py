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
    "test/error": "Error, %",
    "val/error": "Validation error, %",
    "train/error": "Training error, %",
    "train/nll": "Training NLL",
    "gap/error": "Gap in error, points",
    "gap/nll": "Gap in NLL",
    "rate/nats": "Rate, nats",
    "rate/bits": "Rate, bits",
    "latent/active_units": "Active units",
    "test/neg_elbo": "−ELBO, nats",
    "test/bits_per_dimension": "Bits per dimension",
    "test/neg_iwae": "−IWAE, nats",
    "test/reconstruction": "−log p(x|z), nats",
    "test/kl": "KL, nats",
    "test/squared_error": "Squared error per pixel",
    "val/neg_elbo": "Validation −ELBO, nats",
    "train/neg_elbo": "Training −ELBO, nats",
    "gap/neg_elbo": "Gap in −ELBO, nats",
    "test/mig": "MIG, %",
    "test/dci": "DCI, %",
    "test/sap": "SAP, %",
    "test/factor_vae": "FactorVAE score, %",
    "test/transfer_error": "Squared transfer error per pixel",
    "test/neg_ais": "−log p(x) by AIS, nats",
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
        _endpoint(found, by_arm),
        _distributions(found, by_arm, published),
        _each(found),
        *([_published(found, published)] if len(published) else []),
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
        *_metrics(
            "bounds",
            "Bounds, reconstructions and codes",
            by_arm,
            summaries.GENERATIVE,
            f"Per test image. −IWAE: the importance-weighted bound of {samples} draws. Bits per dimension: of "
            "that bound, for 8-bit images, where the likelihood is a density. Bounds of a Bernoulli and of a "
            "Gaussian do not compare; KL and bounds of an adversarial model are its discriminator's guesses.",
            to,
        ),
        *_metrics(
            "scores",
            "Calibration and secondary scores",
            by_arm,
            SCORES if found.nll else [],
            "NLL is plain cross-entropy in nats per example. Scaled: by a temperature fitted on validation images. "
            f"k = {samples} samples, probabilities averaged.",
            to,
        ),
        *_metrics(
            "gaps",
            "Validation and training scores, gaps and rate",
            by_arm,
            GAPS,
            f"Gap: test − training, plain cross-entropy and error in evaluation mode. {GAP}" if found.nll else "",
            to,
        ),
        *_metrics(
            "scales",
            "Scales",
            by_arm,
            SCALES,
            "Neither noise nor penalty alone has a scale: noise is outgrown by larger μ, a penalty moves its scale "
            "into the head. Read what each half does beside these."
            if found.nll
            else "",
            to,
        ),
    ]


def _endpoint(found: Evidence, by_arm: pd.DataFrame) -> Table:
    endpoint = found.endpoint
    main = endpoint.metric
    what = {
        "error": "Hard-label error of one pass at the posterior mean, dropout and noise off. The interval covers seeds "
        "and test examples;",
        "": f"{endpoint.definition} The interval is by t over replicates, conditional on the test set;",
    }.get(endpoint.loss, f"{endpoint.definition} The interval covers seeds and test examples;")
    return Table(
        "arms",
        endpoint.title,
        by_arm,
        {
            "Arm": word("arm"),
            endpoint.column: of(main, endpoint.value),
            "95 % interval": _span(found),
            f"IQM, {endpoint.values}": of(f"{main}_iqm", endpoint.value),
            "Replicates": lambda r: count(r["replicates"]) + (f" ({count(r['failed'])} failed)" if r["failed"] else ""),
        },
        f"{what} intervals of two arms may overlap though their paired difference is significant. IQM: mean of the "
        "middle half of the replicates.",
        links.to_replicates(found),
    )


def _span(found: Evidence) -> Cell:
    main, value = found.endpoint.metric, found.endpoint.value
    return lambda row: f"{value(row[f'{main}_low'])} to {value(row[f'{main}_high'])}"


def _each(found: Evidence) -> Table:
    rows, endpoint = found.replicates, found.endpoint
    scores = ("test/nll", "val/error") if found.nll else ("test/squared_error", "val/neg_elbo")
    names = ["arm", "replicate_id", endpoint.metric, *scores, "epochs", "seconds", "outcome", "reason"]
    there = [name for name in dict.fromkeys(names) if name in rows]
    others = [name for name in scores if name in there and name != endpoint.metric]
    return Table(
        "each_replicate",
        "Every replicate",
        rows[there],
        {
            "Run": word("replicate_id"),
            endpoint.column: of(endpoint.metric, endpoint.value),
            **{LABELS[name]: of(name, percent if name == "val/error" else number) for name in others},
            "Epochs": of("epochs", count),
            "Time": of("seconds", duration),
            "Outcome": lambda r: (
                f"{r['outcome']}: {r['reason'].strip().splitlines()[-1]}" if r["reason"] else r["outcome"]
            ),
        },
        "One that failed scores chance."
        if endpoint.loss == "error"
        else "One that failed counts as the worst of the study.",
        links.to_run(found, "replicate_id"),
        folded=True,
    )


def _distributions(found: Evidence, by_arm: pd.DataFrame, published: pd.DataFrame) -> Figure:
    columns = {"Least": "least", "Lower quartile": "lower_quartile", "Median": "median"}
    columns |= {"Upper quartile": "upper_quartile", "Greatest": "greatest", "SD": "sd"}
    endpoint = found.endpoint
    table = Table(
        "replicates",
        f"{endpoint.title} of the replicates, {endpoint.values}",
        summaries.replicates(found),
        {"Arm": word("arm"), **{label: of(name, endpoint.value) for label, name in columns.items()}},
    )
    picture = figures.distributions(found, by_arm, published)
    return Figure("distributions", f"{endpoint.title} of every replicate, {endpoint.values}", picture, table)


def _published(found: Evidence, table: pd.DataFrame) -> Table:
    endpoint = found.endpoint
    what = "error" if endpoint.loss == "error" else endpoint.name
    return Table(
        "published",
        "Published elsewhere, beside this study",
        table,
        {
            "Arm": word("arm"),
            "Source": word("source"),
            f"Published {what}, {endpoint.values}": of("published", endpoint.value),
            f"This study, {endpoint.values}": of(endpoint.metric, endpoint.value),
            "95 % interval": _span(found),
        },
        "Published elsewhere, with other code, data splits and budgets: shown for orientation, tested nowhere here.",
    )


def _metrics(
    name: str, title: str, by_arm: pd.DataFrame, metrics: Sequence[str], note: str, to: Mapping[str, Cell]
) -> list[Table]:
    there = [metric for metric in metrics if metric in by_arm and f"{metric}_half" in by_arm]
    metrics, there = there, [metric for metric in there if by_arm[metric].notna().any()]
    if not there:
        return []
    columns = {"Arm": word("arm")} | {LABELS[metric]: _spread(by_arm, metric) for metric in there}
    kept = ["arm", *(column for metric in metrics for column in (metric, f"{metric}_half"))]
    return [Table(name, title, by_arm[kept], columns, " ".join(filter(None, (note, HALF))), to)]


def _spread(by_arm: pd.DataFrame, metric: str) -> Cell:
    scale = 100.0 if metric in summaries.IN_POINTS else 1.0
    digits = decimals(list(scale * by_arm[f"{metric}_half"]))
    return lambda row: spread(scale * row[metric], scale * row[f"{metric}_half"], digits)
