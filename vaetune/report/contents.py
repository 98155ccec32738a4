"""What the report says and in which order: from evidence to a document, without a word on how it is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from vaetune.report import comparisons, costs, evidence, figures, summaries
from vaetune.report.comparisons import Verdict
from vaetune.report.document import Bullets, Card, Cell, Document, Figure, Section, Table, Text
from vaetune.report.evidence import Evidence
from vaetune.report.method import how_measured
from vaetune.report.words import (
    MISSING,
    count,
    decimals,
    duration,
    interval,
    number,
    p_value,
    percent,
    plural,
    points,
    spread,
)

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


def compose(found: Evidence) -> Document:
    """The report of an execution."""
    verdicts = comparisons.judge(evidence.contrasts(found), found.errors, found.search, found.margin)
    by_arm, spent = summaries.arms(found), costs.ledger(found)
    sections = [
        Section("verdicts", "Verdicts", _verdicts(verdicts)),
        Section("flags", "Flags", _flags(costs.flags(found, spent))),
        Section("arms", "The arms", _arms(found, by_arm)),
        Section("curves", "Learning curves", _curves(summaries.curves(found))),
        Section("secondary", "Secondary metrics", _secondary(found, verdicts)),
        Section("ledger", "What the search spent", _spent(found, spent)),
        Section("method", "How this was measured", [how_measured(found)]),
    ]
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    summary = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
    return Document(
        title=found.study["name"],
        subtitle=f"Run {found.study['run']} · {plural(len(verdicts), 'declared comparison')}: {summary or 'none'}",
        lead=found.study["hypothesis"],
        sections=sections,
    )


def _verdicts(verdicts: Sequence[Verdict]) -> list[Card | Figure | Table | Text]:
    if not verdicts:
        return [Text("The study declares no comparison in advance, so nothing in this report is confirmatory.")]
    cards = [
        Card(
            v.outcome,
            v.contrast.name,
            v.sentence,
            [text for text in (v.contrast.question, v.contrast.resolved) if text],
        )
        for v in verdicts
    ]
    frame = pd.DataFrame([_row(v) for v in verdicts])
    forest = Table(
        "comparisons",
        "Declared comparisons",
        frame,
        {
            "Comparison": _text("comparison"),
            "Difference, points": _of("difference", points),
            "95 % interval": lambda r: interval(r["low"], r["high"]),
            "Holm p": _of("p_adjusted", p_value),
            "Holm p, equivalence": _of("p_equivalence_adjusted", p_value),
            "Verdict": _text("verdict"),
        },
        "Negative differences favour the arms with weight +1. The interval is not adjusted for the number of "
        "comparisons; the verdict is, at 5 %, for the difference and for the equivalence tests alike.",
    )
    checks = Table(
        "checks",
        "The same comparisons by other means",
        frame[[column for column in frame if column not in ("question", "sentence")]],
        {
            "Comparison": _text("comparison"),
            "SE": _of("se", percent),
            "df": _of("df", number),
            "p": _of("p", p_value),
            "p, equivalence": _of("p_equivalence", p_value),
            "Crossed bootstrap": lambda r: interval(r["bootstrap_low"], r["bootstrap_high"]),
            "p, sign flips": _of("p_sign_flip", p_value),
            "Relative reduction, %": _of("relative_reduction", lambda x: percent(x, 1)),
            "P(improvement)": _of("probability_of_improvement", number),
            "Detectable, points": _of("detectable", percent),
        },
        "Before adjustment. The bootstrap draws replicates and test examples again; the sign flips use replicates "
        "only. P(improvement): how often a replicate of the first arm errs less than one of the second. Detectable: "
        "the smallest true difference that this standard error finds at Holm's strictest step with power 0.8.",
    )
    picture = Figure("forest", "Differences in test error, with 95 % intervals", figures.forest(verdicts), forest)
    return [*cards, picture, checks]


def _row(verdict: Verdict) -> dict[str, Any]:
    low, high = verdict.estimate.interval()
    return {
        "comparison": verdict.contrast.name,
        "question": verdict.contrast.question,
        "verdict": verdict.outcome,
        "difference": verdict.estimate.mean,
        "low": low,
        "high": high,
        "se": verdict.estimate.se,
        "df": verdict.estimate.df,
        "rows": verdict.estimate.rows,
        "examples": verdict.estimate.examples,
        "p": verdict.estimate.p,
        "p_adjusted": verdict.adjusted,
        "margin": verdict.margin,
        "p_equivalence": verdict.equivalence,
        "p_equivalence_adjusted": verdict.equivalence_adjusted,
        "detectable": verdict.detectable,
        "bootstrap_low": verdict.bootstrap[0],
        "bootstrap_high": verdict.bootstrap[1],
        "p_sign_flip": verdict.flip,
        "relative_reduction": verdict.relative_reduction,
        "probability_of_improvement": verdict.probability_of_improvement,
        "sentence": verdict.sentence,
    }


def _flags(found: list[str]) -> list[Bullets | Text]:
    return [Bullets(found) if found else Text("Nothing to flag: no failure, no winner at the end of its range.")]


def _arms(found: Evidence, by_arm: pd.DataFrame) -> list[Figure | Table]:
    published = found.study.get("published", {})
    elsewhere = ", ".join(f"{name} {percent(value)} %" for name, value in published.items())
    main = {
        "Arm": _text("arm"),
        "Test error, %": _of("test/error", percent),
        "95 % interval": lambda r: f"{percent(r['test/error_low'])} to {percent(r['test/error_high'])}",
        "IQM, %": _of("test/error_iqm", percent),
        "Replicates": lambda r: count(r["replicates"]) + (f" ({count(r['failed'])} failed)" if r["failed"] else ""),
        **({"Published elsewhere, %": _of("published", percent)} if published else {}),
    }
    kinds = {
        "Arm": _text("arm"),
        "What it is": _text("summary"),
        "Parameters": _of("parameters", count),
        "Epochs": _of("epochs", number),
        "Time": _of("seconds", duration),
    }
    note = (
        "Hard-label error of one pass at the posterior mean, dropout and noise off. The interval covers seeds and test "
        "examples; intervals of two arms may overlap though their paired difference is significant. IQM: mean of the "
        "middle half of the replicates."
    )
    if published:
        note += f" Published elsewhere, with other code, data splits and budgets, and not tested here: {elsewhere}."
    half = "± is the half width of the 95 % t interval over replicates, conditional on the test set."

    def metrics(names: Sequence[str]) -> dict[str, Cell]:
        there = [name for name in names if by_arm[name].notna().any()]
        return {"Arm": _text("arm")} | {LABELS[name]: _spread(by_arm, name) for name in there}

    quartiles = {"Least": "least", "Lower quartile": "lower_quartile", "Median": "median"}
    quartiles |= {"Upper quartile": "upper_quartile", "Greatest": "greatest", "SD": "sd"}
    spread = Table(
        "replicates",
        "Test error of the replicates, %",
        summaries.replicates(found),
        {"Arm": _text("arm"), **{label: _of(name, percent) for label, name in quartiles.items()}},
    )
    return [
        Table("arms", "Test error", by_arm, main, note),
        Figure("distributions", "Test error of every replicate, %", figures.distributions(found, by_arm), spread),
        Table("sizes", "What each arm is, and what one replicate cost", by_arm[SIZES], kinds, "Means per replicate."),
        Table(
            "scores",
            "Calibration and secondary scores",
            _columns(by_arm, SCORES),
            metrics(SCORES),
            f"NLL is plain cross-entropy in nats per example. Scaled: by a temperature fitted on validation images. "
            f"k = {count(found.study['replication']['samples'])} samples, probabilities averaged. {half}",
        ),
        Table(
            "gaps",
            "Validation and training scores, gaps and rate",
            _columns(by_arm, GAPS),
            metrics(GAPS),
            f"Gap: test − training, plain cross-entropy and error in evaluation mode. {GAP} {half}",
        ),
        Table(
            "scales",
            "Scales",
            _columns(by_arm, SCALES),
            metrics(SCALES),
            "Neither noise nor penalty alone has a scale: noise is outgrown by larger μ, a penalty moves its scale "
            f"into the head. Read what each half does beside these. {half}",
        ),
    ]


def _curves(table: pd.DataFrame) -> list[Figure | Text]:
    if table.empty:
        return [Text("No replicate left a learning curve.")]
    few = summaries.at_epochs(table)
    columns: dict[str, Cell] = {"Arm": _text("arm")}
    columns |= {str(name).capitalize(): _of(str(name), percent) for name in few.columns[1:]}
    return [
        Figure(
            "curves",
            "Validation error of the replicates by epoch, %",
            figures.learning_curves(table),
            Table("curves", "Validation error by epoch, %: mean of the replicates", few, columns),
            "Line: mean of the replicates. Band: from the least to the greatest. Grey: the other arms' means. The "
            "score of a replicate is that of its last epoch.",
        )
    ]


def _secondary(found: Evidence, verdicts: Sequence[Verdict]) -> list[Table | Text]:
    table = summaries.secondary(found, [verdict.contrast for verdict in verdicts])
    if table.empty:
        return [Text("Without declared comparisons there is nothing to compare by other metrics.")]
    shrunk = summaries.smaller_gaps(verdicts, table)
    said = f" That is the case in: {'; '.join(shrunk)}." if shrunk else ""
    shown = {
        "Comparison": _text("comparison"),
        "Metric": lambda r: LABELS[r["metric"]],
        "Difference": lambda r: _difference(r, "difference"),
        "95 % interval": lambda r: f"{_difference(r, 'low')} to {_difference(r, 'high')}",
        "p": _of("p", p_value),
        "p, Benjamini–Hochberg": _of("p_adjusted", p_value),
    }
    note = (
        "Exploratory: adjusted for the false discovery rate over this whole table, and no ground for a verdict. "
        "Errors, ECE and their gaps in points, the rest in its own unit. NLL by the two-way interval; all other rows "
        "by t over replicates, conditional on the test set."
    )
    return [Text(GAP + said), Table("secondary", "The declared comparisons by other metrics", table, shown, note)]


def _spent(found: Evidence, spent: pd.DataFrame) -> list[Figure | Table]:
    objective = found.study["objective"]
    score: Callable[[float], str] = percent if objective["metric"].endswith("error") else number
    columns = {
        "Arm": _text("arm"),
        "Hyper-parameters": _of("hyperparameters", count),
        "Contains the plain arm": lambda r: "yes" if r["contains_plain"] else "no",
        "Trials": _of("trials", count),
        "Finished": _of("finished", count),
        "Stopped": _of("stopped", count),
        "Failed": _of("failed", count),
        "Search epochs": _of("search_epochs", count),
        "Search time": _of("search_seconds", duration),
        "Select time": _of("select_seconds", duration),
        "Replicate time": _of("replicate_seconds", duration),
        "Winner at half budget": _of("half_budget", score),
        "Winner at full budget": _of("full_budget", score),
    }
    return [
        Figure(
            "ledger",
            "Trials and training time by arm",
            figures.spent(spent),
            Table("ledger", "The ledger, by arm", spent, columns),
            f"Winners: {objective['metric']} of the re-seeded winner among the first half of the trials, and among "
            f"all; {MISSING} where no configuration of that half was trained again. A winner that still improves from "
            "half to full budget may improve further. Search scores are censored and selected: no comparison uses them.",
        )
    ]


def _columns(by_arm: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return by_arm[["arm", *(column for name in names for column in (name, f"{name}_half"))]]


def _text(column: str) -> Cell:
    return lambda row: str(row[column])


def _of(column: str, words: Callable[[float], str]) -> Cell:
    return lambda row: words(row[column])


def _spread(by_arm: pd.DataFrame, metric: str) -> Cell:
    scale = 100.0 if metric in summaries.IN_POINTS else 1.0
    digits = decimals(list(scale * by_arm[f"{metric}_half"]))
    return lambda row: spread(scale * row[metric], scale * row[f"{metric}_half"], digits)


def _difference(row: Mapping[str, Any], column: str) -> str:
    if row["metric"] in summaries.IN_POINTS:
        return points(row[column])
    text = number(row[column])
    return text if row[column] <= 0 else f"+{text}"
