"""From declared contrasts to verdicts, in words that carry the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vaetune.report import statistics
from vaetune.report.contrasts import Contrast
from vaetune.report.statistics import ALPHA, POWER, Array, Estimate
from vaetune.report.words import combination, equals, interval, percent, plural, points

Outcome = Literal["better", "worse", "equivalent", "different, negligibly", "undecided"]
SEARCHES = 3  # from so many searches an arm on, inference is over searches


@dataclass(frozen=True)
class Verdict:
    """One comparison, judged. Differences and margin are fractions; "adjusted" p values are Holm's over the family.

    `detectable` is the smallest true difference that this standard error finds at Holm's strictest step with
    power 0.8. `bootstrap` and `flip` are checks by other means; they decide nothing. The relative error reduction
    and the probability of improvement are None where the contrast is not a pair of arms.
    """

    contrast: Contrast
    estimate: Estimate
    margin: float
    adjusted: float
    equivalence: float
    equivalence_adjusted: float
    detectable: float
    bootstrap: tuple[float, float]
    flip: float
    relative_reduction: float | None
    probability_of_improvement: float | None
    outcome: Outcome
    sentence: str


def judge(
    declared: Sequence[Contrast], errors: Mapping[str, Array], search: npt.NDArray[np.int64], margin: float
) -> list[Verdict]:
    """Verdicts on the whole family of declared comparisons, at 5 % after Holm, smaller error being better.

    The difference tests and the equivalence tests (`margin` as a fraction) are adjusted each for the family's
    size. `errors` [replicate, example] are the losses of each arm. `search` [replicate] says which search a
    replicate belongs to; from three searches on, each counts once, with the mean of its replicates.
    """
    searches = len(np.unique(search))
    rows = [over_searches(contrast.values, search) for contrast in declared]
    estimates = [statistics.two_way(values) for values in rows]
    verdicts = []
    for contrast, values, estimate, decision in zip(declared, rows, estimates, decide(estimates, margin), strict=True):
        p, alike, outcome = decision.adjusted, decision.equivalence_adjusted, decision.outcome
        detectable = estimate.detectable(ALPHA / len(declared))
        pair = [over_searches(errors[arm], search).mean(axis=1) for arm in contrast.pair or ()]
        verdicts.append(
            Verdict(
                contrast=contrast,
                estimate=estimate,
                margin=margin,
                adjusted=p,
                equivalence=estimate.equivalence(margin),
                equivalence_adjusted=alike,
                detectable=detectable,
                bootstrap=statistics.bootstrap(values),
                flip=statistics.sign_flip(values.mean(axis=1)),
                relative_reduction=statistics.relative_reduction(*(float(v.mean()) for v in pair)) if pair else None,
                probability_of_improvement=statistics.probability_of_improvement(*pair) if pair else None,
                outcome=outcome,
                sentence=_sentence(contrast, estimate, margin, p, alike, detectable, outcome, searches),
            )
        )
    return verdicts


@dataclass(frozen=True)
class Decision:
    """What Holm's method leaves of one comparison's two tests, and the verdict."""

    adjusted: float
    equivalence_adjusted: float
    outcome: Outcome


def decide(estimates: Sequence[Estimate], margin: float) -> list[Decision]:
    """The verdicts on a family: difference and equivalence tests adjusted each for its size, at 5 %."""
    adjusted = statistics.holm([estimate.p for estimate in estimates])
    equivalence = statistics.holm([estimate.equivalence(margin) for estimate in estimates])
    return [
        Decision(p, alike, _outcome(estimate.mean, p <= ALPHA, alike <= ALPHA))
        for estimate, p, alike in zip(estimates, adjusted, equivalence, strict=True)
    ]


def over_searches(values: Array, search: npt.NDArray[np.int64]) -> Array:
    """The rows to infer over: one a replicate, or one a search where there are at least three searches."""
    return statistics.within_searches(values, search) if len(np.unique(search)) >= SEARCHES else values


def _outcome(mean: float, differs: bool, negligible: bool) -> Outcome:
    if differs and negligible:
        return "different, negligibly"
    if differs:
        return "better" if mean < 0 else "worse"
    return "equivalent" if negligible else "undecided"


def _sentence(
    contrast: Contrast,
    estimate: Estimate,
    margin: float,
    adjusted: float,
    equivalence: float,
    detectable: float,
    outcome: Outcome,
    searches: int,
) -> str:
    many = searches >= SEARCHES
    rows = plural(estimate.rows, *(("paired search", "paired searches") if many else ("paired replicate",)))
    size = f"{rows} and {plural(estimate.examples, 'test example')}"
    spread = f"95 % interval {interval(*estimate.interval())}"
    within = f"the margin of {percent(margin)} points"
    by = f"{percent(abs(estimate.mean))} points"
    lower = "lower" if estimate.mean < 0 else "higher"
    if contrast.pair:
        who = _who(*contrast.pair, searches)
        finding, alike = f"the test error is {lower} by {by}", "the test errors differ by less than"
    else:
        who = f"The contrast {combination(contrast.weights)} of test errors"
        finding, alike = f"it is {by} {'below' if estimate.mean < 0 else 'above'} zero", "it is closer to zero than"
    match outcome:
        case "better" | "worse":
            text = f"{finding} ({spread}; Holm p {equals(adjusted)}; {size})"
        case "different, negligibly":
            text = (
                f"{finding}, significantly (Holm p {equals(adjusted)}) yet by less than {within} "
                f"(Holm p of equivalence {equals(equivalence)}; {spread}; {size})"
            )
        case "equivalent":
            text = (
                f"{alike} {within} (difference {points(estimate.mean)} points; {spread}; "
                f"Holm p of equivalence {equals(equivalence)}; {size})"
            )
        case "undecided":
            text = (
                f"neither a difference nor equivalence within {within} is shown (difference "
                f"{points(estimate.mean)} points; {spread}; Holm p {equals(adjusted)}; Holm p of "
                f"equivalence {equals(equivalence)}). The smallest difference that {size} could have shown is "
                f"{percent(detectable)} points (power {POWER:g}, Holm's strictest step)"
            )
    return f"{who}: {text}."


def _who(ours: str, theirs: str, searches: int) -> str:
    if searches >= SEARCHES:
        return f"{ours} against {theirs}, over {searches} searches of each"
    if searches == 1:
        return f"This configuration of {ours} against this one of {theirs}"
    return f"These {searches} configurations of {ours} against these of {theirs}"
