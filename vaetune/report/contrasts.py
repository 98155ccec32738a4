"""The comparisons that a study declares, as arrays; "best of" is resolved here, on validation images only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaetune.errors import UserError, unknown
from vaetune.report import statistics
from vaetune.report.evidence import Evidence, require_finite
from vaetune.report.statistics import Array


@dataclass(frozen=True)
class Contrast:
    """A declared comparison as numbers: `values` = Σ weight · the arm's of `Evidence.errors`, and of that shape.

    `weights` name arms only; `resolved` says in words which arm each "best of" became, and why.
    """

    name: str
    question: str
    weights: tuple[tuple[str, float], ...]
    values: Array
    resolved: str = ""

    @property
    def pair(self) -> tuple[str, str] | None:
        """(A, B) where the contrast is A − B, else None."""
        found = {weight: arm for arm, weight in self.weights}
        return (found[1.0], found[-1.0]) if len(self.weights) == 2 and found.keys() == {1.0, -1.0} else None


def contrasts(evidence: Evidence) -> list[Contrast]:
    """The declared comparisons as arrays, each "best of" resolved on validation images."""
    return [_contrast(evidence, declared) for declared in evidence.study["comparisons"]]


def _contrast(evidence: Evidence, declared: Mapping[str, Any]) -> Contrast:
    weights: dict[str, float] = {}
    resolved = []
    for term, weight in declared["weights"]:
        if isinstance(term, str):
            arm = term
        else:
            arm, why = _best_of(evidence, term[1])
            resolved.append(why)
        if arm not in evidence.errors:
            raise unknown(f"arm in comparison {declared['name']!r}:", arm, evidence.arms)
        weights[arm] = weights.get(arm, 0.0) + float(weight)
    terms = tuple(weights.items())
    values = statistics.combine(terms, evidence.errors)
    return Contrast(declared["name"], declared["question"], terms, values, " ".join(resolved))


def _best_of(evidence: Evidence, arms: Sequence[str]) -> tuple[str, str]:
    """The arm that is best on validation images (a classifier's: error, then scaled NLL), and the words for it."""
    for arm in arms:
        if arm not in evidence.errors:
            raise unknown("arm in best_of:", arm, evidence.arms)
    refit, endpoint = evidence.study["replication"]["refit"], evidence.endpoint
    scores = {arm: _reseeded(evidence, arm) if refit else _replicated(evidence, arm) for arm in arms}
    best = (min if endpoint.smaller_is_better else max)(scores, key=scores.__getitem__)
    listed = ", ".join(f"{arm} {endpoint.value(score)} {endpoint.values}" for arm, (score, _) in scores.items())
    of = "its re-seeded winner's" if refit else "the replicates'"
    name = endpoint.name.replace("test", "validation")
    return best, f"The best of {', '.join(arms)} by {of} {name} is {best} ({listed})."


def _replicated(evidence: Evidence, arm: str) -> tuple[float, float]:
    rows, column = evidence.of(arm), evidence.endpoint.validation()
    if column not in rows:
        raise UserError(f"best of {arm} and others: the replicates have no {column}; name the arm in the comparison")
    require_finite(rows, column)
    if column != "val/error":
        return float(rows[column].mean()), 0.0
    require_finite(rows, "val/nll_scaled")
    return float(rows["val/error"].mean()), float(rows["val/nll_scaled"].mean())


def _reseeded(evidence: Evidence, arm: str) -> tuple[float, float]:
    """As scored in the select phase: replicates that were fitted on the validation images cannot say."""
    objective = evidence.study["objective"]
    scored = (evidence.endpoint.metric, objective["metric"], objective["tie"])
    if scored != ("test/error", "val/error", "val/nll_scaled"):
        raise UserError(
            f"best of {arm} and others: the replicates were fitted on the validation images (replication.refit), "
            f"and the search scored {objective['metric']}, not val/error; name the arm in the comparison"
        )
    ledger, hashes = evidence.ledger, set(evidence.of(arm)["config_hash"])
    rows = ledger[(ledger["phase"] == "select") & (ledger["arm"] == arm) & ledger["config_hash"].isin(hashes)]
    if rows.empty:
        raise UserError(
            f"best of {arm} and others: with replication.refit the select phase has to score the chosen "
            "configurations; set budget.reseeds to 1 or more, or name the arm in the comparison"
        )
    classes = int(evidence.study["dataset_info"]["classes"])
    chance = {"objective": 1 - 1 / classes, "tie": math.log(classes)}
    means = rows[["objective", "tie"]].astype(float).fillna(chance).mean()
    return float(means["objective"]), float(means["tie"])
