"""From declared contrasts to verdicts, in words that carry the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vaetune.report import primary, statistics
from vaetune.report.contrasts import Contrast
from vaetune.report.primary import Primary
from vaetune.report.statistics import ALPHA, POWER, Array, Estimate
from vaetune.report.words import combination, equals, plural

Outcome = Literal["better", "worse", "equivalent", "different, negligibly", "undecided"]
SEARCHES = 3  # from so many searches an arm on, inference is over searches


@dataclass(frozen=True)
class Verdict:
    """One comparison, judged. Differences and margin are in the tables' numbers.

    "adjusted" p values are Holm's over the family. `detectable` is the smallest true difference that this standard
    error finds at Holm's strictest step with power 0.8. `bootstrap` (NaN where there are no examples to draw) and
    `flip` are checks by other means; they decide nothing. The relative reduction and the probability of improvement
    are None where the contrast is not a pair of arms, the reduction also where less is not better or the endpoint has
    no zero to be a share of.
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
    declared: Sequence[Contrast],
    errors: Mapping[str, Array],
    search: npt.NDArray[np.int64],
    margin: float,
    endpoint: Primary = primary.ERROR,
) -> list[Verdict]:
    """Verdicts on the whole family of declared comparisons, at 5 % after Holm.

    The difference tests and the equivalence tests (`margin` in the tables' numbers) are adjusted each for the family's
    size. `errors` are the endpoint's losses of each arm, [replicate, example], or its values [replicate]. `search`
    [replicate] says which search a replicate belongs to; from three searches on, each counts once, with the mean of
    its replicates.
    """
    searches = len(np.unique(search))
    rows = [over_searches(contrast.values, search) for contrast in declared]
    estimates = [statistics.estimated(values) for values in rows]
    decisions = decide(estimates, margin, endpoint.smaller_is_better)
    verdicts = []
    for contrast, values, estimate, decision in zip(declared, rows, estimates, decisions, strict=True):
        p, alike, outcome = decision.adjusted, decision.equivalence_adjusted, decision.outcome
        detectable = estimate.detectable(ALPHA / len(declared))
        pair = [statistics.by_replicate(over_searches(errors[arm], search)) for arm in contrast.pair or ()]
        ordered = pair if endpoint.smaller_is_better else pair[::-1]
        share = bool(pair) and endpoint.smaller_is_better and endpoint.loss != "neg_elbo"
        verdicts.append(
            Verdict(
                contrast=contrast,
                estimate=estimate,
                margin=margin,
                adjusted=p,
                equivalence=estimate.equivalence(margin),
                equivalence_adjusted=alike,
                detectable=detectable,
                bootstrap=statistics.bootstrap(values) if values.ndim == 2 else (np.nan, np.nan),
                flip=statistics.sign_flip(statistics.by_replicate(values)),
                relative_reduction=statistics.relative_reduction(*(float(v.mean()) for v in pair)) if share else None,
                probability_of_improvement=statistics.probability_of_improvement(*ordered) if pair else None,
                outcome=outcome,
                sentence=_sentence(contrast, estimate, margin, p, alike, detectable, outcome, searches, endpoint),
            )
        )
    return verdicts


@dataclass(frozen=True)
class Decision:
    """What Holm's method leaves of one comparison's two tests, and the verdict."""

    adjusted: float
    equivalence_adjusted: float
    outcome: Outcome


def decide(estimates: Sequence[Estimate], margin: float, smaller_is_better: bool = True) -> list[Decision]:
    """The verdicts on a family: difference and equivalence tests adjusted each for its size, at 5 %."""
    sign = 1 if smaller_is_better else -1
    adjusted = statistics.holm([estimate.p for estimate in estimates])
    equivalence = statistics.holm([estimate.equivalence(margin) for estimate in estimates])
    return [
        Decision(p, alike, _outcome(sign * estimate.mean, p <= ALPHA, alike <= ALPHA))
        for estimate, p, alike in zip(estimates, adjusted, equivalence, strict=True)
    ]


def over_searches(values: Array, search: npt.NDArray[np.int64]) -> Array:
    """The rows to infer over: one a replicate, or one a search where there are at least three searches."""
    return statistics.within_searches(values, search) if len(np.unique(search)) >= SEARCHES else values


def _outcome(loss: float, differs: bool, negligible: bool) -> Outcome:
    if differs and negligible:
        return "different, negligibly"
    if differs:
        return "better" if loss < 0 else "worse"
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
    endpoint: Primary,
) -> str:
    many = searches >= SEARCHES
    rows = plural(estimate.rows, *(("paired search", "paired searches") if many else ("paired replicate",)))
    size = f"{rows} and {plural(estimate.examples, 'test example')}"
    if not estimate.examples:
        size = f"{rows}, by t over {'searches' if many else 'replicates'}, conditional on the test set"
    unit, difference = endpoint.unit, endpoint.difference(estimate.mean)
    spread = f"95 % interval {endpoint.interval(*estimate.interval())}"
    within = f"the margin of {endpoint.value(margin)} {unit}"
    by = f"{endpoint.value(abs(estimate.mean))} {unit}"
    lower = "lower" if estimate.mean < 0 else "higher"
    if contrast.pair:
        who = _who(*contrast.pair, searches)
        finding, alike = f"the {endpoint.name} is {lower} by {by}", f"the {endpoint.plural} differ by less than"
    else:
        who = f"The contrast {combination(contrast.weights)} of {endpoint.plural}"
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
                f"{alike} {within} (difference {difference} {unit}; {spread}; "
                f"Holm p of equivalence {equals(equivalence)}; {size})"
            )
        case "undecided":
            text = (
                f"neither a difference nor equivalence within {within} is shown (difference "
                f"{difference} {unit}; {spread}; Holm p {equals(adjusted)}; Holm p of "
                f"equivalence {equals(equivalence)}). The smallest difference that {size} could have shown is "
                f"{endpoint.value(detectable)} {unit} (power {POWER:g}, Holm's strictest step)"
            )
    return f"{who}: {text}."


def _who(ours: str, theirs: str, searches: int) -> str:
    if searches >= SEARCHES:
        return f"{ours} against {theirs}, over {searches} searches of each"
    if searches == 1:
        return f"This configuration of {ours} against this one of {theirs}"
    return f"These {searches} configurations of {ours} against these of {theirs}"
