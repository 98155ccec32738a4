"""What the report says and in which order: from evidence to a document, without a word on how it is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from vaetune.report import battery, comparisons, costs, figures, links, summaries
from vaetune.report.arm_tables import GAP, LABELS, arm_blocks
from vaetune.report.audit_tables import audit_blocks
from vaetune.report.axes import axis_blocks
from vaetune.report.battery_tables import battery_blocks
from vaetune.report.comparisons import Verdict
from vaetune.report.contrasts import contrasts
from vaetune.report.document import Bullets, Cell, Document, Figure, Section, Table, Text, of, word
from vaetune.report.evidence import Evidence
from vaetune.report.method import how_measured
from vaetune.report.verdict_tables import verdict_blocks
from vaetune.report.words import (
    MISSING,
    count,
    duration,
    in_per_cent,
    interval,
    number,
    p_value,
    percent,
    plural,
    points,
    signed,
)


def compose(found: Evidence) -> Document:
    """The report of an execution."""
    verdicts = comparisons.judge(contrasts(found), found.errors, found.search, found.margin, found.endpoint)
    by_arm, spent = summaries.arms(found), costs.ledger(found)
    along = axis_blocks(found, by_arm, verdicts)
    sections = [
        Section("verdicts", "Verdicts", verdict_blocks(verdicts, found.endpoint)),
        *([Section("axis", "Where the arms part", along)] if along else []),
        Section("flags", "Flags", _flags([*costs.flags(found, spent), *battery.collapsed(found)])),
        Section("arms", "The arms", arm_blocks(found, by_arm)),
        Section("curves", "Learning curves", _curves(found)),
        Section("secondary", "Secondary metrics", _secondary(found, verdicts)),
        Section("battery", "Beyond the error", battery_blocks(found)),
        Section("ledger", "What the search spent", _spent(found, spent)),
        Section("audit", "Did the search search well?", audit_blocks(found)),
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


def _flags(found: list[str]) -> list[Bullets | Text]:
    return [
        Bullets(found)
        if found
        else Text("Nothing to flag: no failure, no winner at the end of its range, no collapse.")
    ]


def _curves(found: Evidence) -> list[Figure | Text]:
    metric = found.study["objective"]["metric"]
    share = bool(found.nll) or in_per_cent(metric)
    metric = "val/error" if share else metric
    table = summaries.curves(found, metric)
    if table.empty:
        return [Text("No replicate left a learning curve.")]
    few = summaries.at_epochs(table)
    columns: dict[str, Cell] = {"Arm": word("arm")}
    columns |= {str(name).capitalize(): of(str(name), percent if share else number) for name in few.columns[1:]}
    name, unit = ("Validation error", ", %") if share else (metric, "")
    return [
        Figure(
            "curves",
            f"{name} of the replicates by epoch{unit}",
            figures.learning_curves(table, share),
            Table("curves", f"{name} by epoch{unit}: mean of the replicates", few, columns),
            "Line: mean of the replicates that are still training. Band: from the least to the greatest. Grey: the "
            "other arms' means. The score of a replicate is that of the weights at the end of its training.",
        )
    ]


def _secondary(found: Evidence, verdicts: Sequence[Verdict]) -> Sequence[Table | Text]:
    table = summaries.secondary(found, [verdict.contrast for verdict in verdicts])
    if table.empty:
        return [
            Text("Without declared comparisons there is nothing to compare by other metrics."),
            *_exploratory(found),
        ]
    shrunk = summaries.smaller_gaps(verdicts, table)
    said = f" That is the case in: {'; '.join(shrunk)}." if shrunk else ""
    shown = {
        "Comparison": word("comparison"),
        "Metric": lambda r: LABELS[r["metric"]],
        "Difference": lambda r: _difference(r, "difference"),
        "95 % interval": lambda r: f"{_difference(r, 'low')} to {_difference(r, 'high')}",
        "p": of("p", p_value),
        "p, Benjamini–Hochberg": of("p_adjusted", p_value),
    }
    note = (
        "Exploratory: adjusted for the false discovery rate over this whole table, and no ground for a verdict. "
    ) + (
        "Errors, ECE and their gaps in points, the rest in its own unit. NLL by the two-way interval; all other rows "
        "by t over replicates, conditional on the test set."
        if found.nll
        else "Shares in points, the rest in its own unit; by t over replicates, conditional on the test set."
    )
    other = Table("secondary", "The declared comparisons by other metrics", table, shown, note)
    return [*([Text(GAP + said)] if found.nll else []), other, *_exploratory(found), *_sampling(found)]


def _sampling(found: Evidence) -> list[Table]:
    table = summaries.sampling(found)
    if table.empty:
        return []
    samples = count(found.study["replication"]["samples"])
    shown = {
        "Arm": word("arm"),
        "One pass at the mean, %": of("mean_pass", percent),
        "Difference, points": of("difference", points),
        "95 % interval": lambda r: interval(r["low"], r["high"]),
        "p": of("p", p_value),
        "p, Benjamini–Hochberg": of("p_adjusted", p_value),
    }
    passes = "1 noisy pass" if samples == "1" else f"{samples} noisy passes averaged"
    note = (
        f"Test error with the probabilities of {passes}, minus that of one pass at the "
        "posterior mean; arms without noise at test time have no such difference. Exploratory; by t over replicates, "
        "conditional on the test set."
    )
    title = "What one noisy sample changes" if samples == "1" else f"What averaging {samples} samples changes"
    return [Table("sampling", title, table, shown, note)]


def _exploratory(found: Evidence) -> list[Table]:
    plain, table = summaries.exploratory(found)
    if table.empty:
        return []
    endpoint = found.endpoint
    shown = {
        "Arm": word("arm"),
        f"Difference, {endpoint.unit}": of("difference", endpoint.difference),
        "95 % interval": lambda r: endpoint.interval(r["low"], r["high"]),
        "p": of("p", p_value),
        "p, Benjamini–Hochberg": of("p_adjusted", p_value),
    }
    by = "the two-way interval" if endpoint.loss else "t over replicates, conditional on the test set"
    note = (
        f"Exploratory, and no ground for a verdict: differences in {endpoint.name} by {by}, not adjusted; "
        "p adjusted for the false discovery rate over this table. That one arm differs from the plain one and another "
        "does not is no comparison of these two."
    )
    return [Table("exploratory", f"Every arm against {plain}", table, shown, note)]


def _trials(found: Evidence) -> Table:
    objective = found.study["objective"]["metric"]
    score: Callable[[float], str] = percent if in_per_cent(objective) else number
    names = (
        "trial_id",
        "arm",
        "phase",
        "slice",
        "outcome",
        "reason",
        "objective",
        "epochs",
        "length",
        "seconds",
        "params",
    )
    return Table(
        "trials",
        "Every trial, re-seeded candidate and replicate",
        found.ledger[list(names)],
        {
            "Run": word("trial_id"),
            "Phase": lambda r: f"{r['phase']} {r['slice']}".strip(),
            "Outcome": word("outcome"),
            f"{objective}{', %' if score is percent else ''}": of("objective", score),
            "Epochs": lambda r: f"{count(r['epochs'])} of {count(r['length'])}",
            "Time": of("seconds", duration),
        },
        "In the order in which they ended.",
        links.to_run(found, "trial_id"),
        folded=True,
    )


def _spent(found: Evidence, spent: pd.DataFrame) -> list[Figure | Table]:
    objective = found.study["objective"]
    share = in_per_cent(objective["metric"])
    score: Callable[[float], str] = percent if share else number
    unit = ", %" if share else ""
    columns = {
        "Arm": word("arm"),
        "Hyper-parameters": of("hyperparameters", count),
        "Contains the plain arm": lambda r: "yes" if r["contains_plain"] else "no",
        "Trials": of("trials", count),
        "Finished": of("finished", count),
        "Stopped": of("stopped", count),
        "Failed": of("failed", count),
        "Search epochs": of("search_epochs", count),
        "Search time": of("search_seconds", duration),
        "Select time": of("select_seconds", duration),
        "Replicate time": of("replicate_seconds", duration),
        f"Winner at half budget{unit}": of("half_budget", score),
        f"Winner at full budget{unit}": of("full_budget", score),
    }
    return [
        Figure(
            "ledger",
            "Trials and training time by arm",
            figures.spent(spent),
            Table("ledger", "The ledger, by arm", spent, columns),
            f"Winners: {objective['metric']} of the re-seeded winner among the first half of the trials, and among "
            f"all; {MISSING} where no configuration of that half was trained again. A winner that still improves "
            "from half to full budget may improve further. Search scores are censored and selected: no comparison uses "
            "them.",
            folded=False,
        ),
        _trials(found),
    ]


def _difference(row: Mapping[str, Any], column: str) -> str:
    if row["metric"] in summaries.IN_POINTS:
        return points(row[column])
    return signed(row[column])
