from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from vaetune.report import comparisons
from vaetune.report.comparisons import Verdict, judge
from vaetune.report.contrasts import Contrast, contrasts

N, M, MARGIN = 8, 400, 0.005
ONE_SEARCH = np.zeros(N, dtype=np.int64)


def losses(error: float, n: int = N, spread: int = 1, m: int = M) -> np.ndarray:
    """[n, m] losses with error rate `error`, give or take `spread` examples from replicate to replicate."""
    out = np.zeros((n, m))
    for i in range(n):
        out[i, : round(error * m) + spread * (i % 3 - 1)] = 1.0
    return out


def verdict(ours: np.ndarray, theirs: np.ndarray, search: np.ndarray = ONE_SEARCH, margin: float = MARGIN) -> Verdict:
    contrast = Contrast("a − b", "", (("a", 1.0), ("b", -1.0)), ours - theirs)
    return judge([contrast], {"a": ours, "b": theirs}, search, margin)[0]


def test_better_and_worse_say_by_how_much() -> None:
    low, high = losses(0.05), np.roll(losses(0.10), 1, axis=0)
    better, worse = verdict(low, high), verdict(high, low)
    assert (better.outcome, worse.outcome) == ("better", "worse")
    assert "test error is lower by 5.00 points" in better.sentence
    assert "test error is higher by 5.00 points" in worse.sentence
    assert "8 paired replicates and 400 test examples" in better.sentence
    assert better.relative_reduction == pytest.approx(1 - low.mean() / high.mean())
    assert better.probability_of_improvement == 1.0


def test_identical_columns_are_equivalent() -> None:
    same = verdict(losses(0.1), losses(0.1))
    assert same.outcome == "equivalent"
    assert (same.adjusted, same.equivalence_adjusted, same.estimate.interval()) == (1.0, 0.0, (0.0, 0.0))
    assert "nan" not in same.sentence
    assert "differ by less than the margin of 0.50 points (difference 0.00 points" in same.sentence


def test_significant_inside_the_margin_is_different_negligibly() -> None:
    ours, theirs = losses(0.05, spread=0, m=10_000), losses(0.052, spread=0, m=10_000)
    found = verdict(ours, theirs)
    assert found.outcome == "different, negligibly"
    assert "lower by 0.20 points, significantly" in found.sentence
    assert "by less than the margin of 0.50 points" in found.sentence


def test_undecided_states_what_could_have_been_shown() -> None:
    rng = np.random.default_rng(0)
    found = verdict(*(rng.random((2, N, M)) < 0.1).astype(float))
    assert found.outcome == "undecided"
    shown = f"8 paired replicates and 400 test examples could have shown is {100 * found.detectable:.2f} points"
    assert shown in found.sentence
    assert found.detectable > abs(found.estimate.mean)


def test_a_contrast_of_four_is_spoken_of_as_a_contrast() -> None:
    weights = (("both", 1.0), ("noise", -1.0), ("penalty", -1.0), ("plain", 1.0))
    values = losses(0.05) - np.roll(losses(0.08), 1, axis=0) - losses(0.08, spread=0) + losses(0.08, spread=0)
    found = judge([Contrast("noise × penalty", "", weights, values)], {}, ONE_SEARCH, MARGIN)[0]
    assert found.outcome == "better"
    assert found.sentence.startswith("The contrast both − noise − penalty + plain of test errors: it is ")
    assert "points below zero" in found.sentence
    assert found.relative_reduction is None
    assert found.probability_of_improvement is None


def test_holm_makes_a_family_stricter_than_its_member() -> None:
    rng = np.random.default_rng(4)
    noise = [(rng.random((N, M)) < 0.1).astype(float) for _ in range(6)]
    effect = losses(0.1)
    shifted = np.clip(effect - (rng.random((N, M)) < 0.06), 0, 1)
    family = [Contrast(f"{i}", "", (("a", 1.0), ("b", -1.0)), values) for i, values in enumerate([shifted - effect])]
    crowd = [Contrast(f"n{i}", "", (("a", 1.0), ("b", -1.0)), noise[i] - noise[i + 1]) for i in range(5)]
    errors = {"a": effect, "b": effect}
    alone = judge(family, errors, ONE_SEARCH, MARGIN)[0]
    together = judge(family + crowd, errors, ONE_SEARCH, MARGIN)[0]
    assert together.adjusted == pytest.approx(min(1.0, 6 * alone.adjusted))
    assert together.detectable > alone.detectable


def test_holm_holds_for_the_equivalence_tests_too() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (rng.random((2, N, 1000)) < 0.1).astype(float)
    contrast = Contrast("a − b", "", (("a", 1.0), ("b", -1.0)), ours - theirs)
    errors = {"a": ours, "b": theirs}
    alone = judge([contrast], errors, ONE_SEARCH, 0.015)[0]
    together = judge([contrast] * 4, errors, ONE_SEARCH, 0.015)[0]
    assert (alone.outcome, together.outcome) == ("equivalent", "undecided")
    assert together.equivalence_adjusted == pytest.approx(4 * alone.equivalence)


def test_three_searches_are_the_unit_of_inference() -> None:
    search = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    low, high = losses(0.05), losses(0.10)
    found = verdict(low, high, search)
    assert found.estimate.rows == 3
    assert found.flip == pytest.approx(0.25)  # three signs can do no better
    assert "a against b, over 3 searches of each" in found.sentence
    assert "3 paired searches" in found.sentence
    two = verdict(low, high, search % 2)
    assert two.estimate.rows == N
    assert two.sentence.startswith("These 2 configurations of a against these of b")


def test_one_search_is_one_configuration() -> None:
    assert verdict(losses(0.1), losses(0.1)).sentence.startswith("This configuration of a against this one of b:")


@pytest.mark.parametrize("edge", [comparisons.SEARCHES - 1, comparisons.SEARCHES])
def test_rows_collapse_from_three_searches_on(edge: int) -> None:
    rows = comparisons.over_searches(losses(0.1), np.arange(N) % edge)
    assert len(rows) == (edge if edge >= comparisons.SEARCHES else N)


def test_no_declared_comparison_is_no_verdict() -> None:
    assert judge([], {}, ONE_SEARCH, MARGIN) == []


def test_nothing_is_nan_in_any_verdict(execution: Callable) -> None:
    evidence = execution({"a": 0.1, "b": 0.1, "c": 0.3}).assembled()
    for found in judge(contrasts(evidence), evidence.errors, evidence.search, evidence.margin):
        numbers = (*found.estimate.interval(), found.adjusted, found.equivalence_adjusted, found.detectable, found.flip)
        assert not any(map(math.isnan, numbers))
