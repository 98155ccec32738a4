"""The section of the verdicts: a card each, the forest plot, and the checks by other means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vaetune.report import figures
from vaetune.report.comparisons import Verdict
from vaetune.report.document import Card, Figure, Table, Text, of, word
from vaetune.report.primary import Primary
from vaetune.report.words import number, p_value, percent


def verdict_blocks(verdicts: Sequence[Verdict], endpoint: Primary) -> list[Card | Figure | Table | Text]:
    """Everything that was declared in advance, and nothing else."""
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
            "Comparison": word("comparison"),
            f"Difference, {endpoint.unit}": of("difference", endpoint.difference),
            "95 % interval": lambda r: endpoint.interval(r["low"], r["high"]),
            "Holm p": of("p_adjusted", p_value),
            "Holm p, equivalence": of("p_equivalence_adjusted", p_value),
            "Verdict": word("verdict"),
        },
        f"{'Negative' if endpoint.smaller_is_better else 'Positive'} differences favour the arms with weight +1. The "
        "interval is not adjusted for the number of comparisons; the verdict is, at 5 %, for the difference and for "
        "the equivalence tests alike.",
    )
    checks = Table(
        "checks",
        "The same comparisons by other means",
        frame[[column for column in frame if column not in ("question", "sentence")]],
        {
            "Comparison": word("comparison"),
            "SE": of("se", endpoint.value),
            "df": of("df", number),
            "p": of("p", p_value),
            "p, equivalence": of("p_equivalence", p_value),
            "Crossed bootstrap": lambda r: endpoint.interval(r["bootstrap_low"], r["bootstrap_high"]),
            "p, sign flips": of("p_sign_flip", p_value),
            "Relative reduction, %": of("relative_reduction", lambda x: percent(x, 1)),
            "P(improvement)": of("probability_of_improvement", number),
            f"Detectable, {endpoint.unit}": of("detectable", endpoint.value),
        },
        "Before adjustment. The bootstrap draws replicates and test examples again; the sign flips draw replicates "
        "only, so their p is conditional on these test examples. P(improvement): how often a replicate of the first "
        f"arm {'errs less' if endpoint.task == 'classify' else 'is better'} than one of the second. Detectable: the "
        "smallest true difference that this standard error finds at Holm's strictest step with power 0.8.",
    )
    picture = Figure(
        "forest",
        f"Differences in {endpoint.name}, with 95 % intervals",
        figures.forest(verdicts, endpoint),
        forest,
        folded=False,
    )
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
