from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from vaetune.errors import UserError
from vaetune.report import statistics
from vaetune.report.statistics import Estimate, two_way


def crossed(rng: np.random.Generator, n: int, m: int, seed: float, example: float, noise: float) -> np.ndarray:
    rows, columns = seed * rng.standard_normal((n, 1)), example * rng.standard_normal(m)
    return rows + columns + noise * rng.standard_normal((n, m))


def test_without_example_variance_it_is_the_paired_t_test_on_replicate_means() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0.10, 0.01, 8), rng.normal(0.11, 0.01, 8)
    estimate = two_way(np.repeat((ours - theirs)[:, None], 50, axis=1))
    oracle = stats.ttest_rel(ours, theirs)
    assert estimate.p == pytest.approx(oracle.pvalue)
    assert estimate.interval() == pytest.approx(tuple(oracle.confidence_interval()))
    assert estimate.df == 7


def test_mean_squares_are_those_of_the_two_way_analysis_of_variance() -> None:
    values = crossed(np.random.default_rng(2), 4, 6, 0.3, 2.0, 1.0)
    long = pd.DataFrame(
        [(i, j, values[i, j]) for i in range(4) for j in range(6)], columns=["replicate", "example", "value"]
    )
    table = anova_lm(ols("value ~ C(replicate) + C(example)", long).fit())
    seed, example, inter = table["mean_sq"]
    assert example > inter
    total = seed + example - inter
    estimate = two_way(values)
    assert estimate.se == pytest.approx(math.sqrt(total / 24))
    assert estimate.df == pytest.approx(total**2 / (seed**2 / 3 + example**2 / 5 + inter**2 / 15))


def test_example_variance_estimated_as_negative_is_left_out() -> None:
    values = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    rows = values.mean(axis=1)
    estimate = two_way(values)
    assert estimate.se == pytest.approx(stats.sem(rows))
    assert estimate.df == 2


def test_degrees_of_freedom_never_fall_below_the_shorter_side() -> None:
    # Equal replicate means, and columns a hair beyond the interaction: Satterthwaite alone would give 0.01.
    rng = np.random.default_rng(0)
    freedom = [two_way(crossed(rng, 5, 40, 0.0, 0.0, 1.0)).df for _ in range(200)]
    assert min(freedom) == 4


def test_identical_columns_are_equivalent_and_never_nan() -> None:
    estimate = two_way(np.zeros((6, 30)))
    assert (estimate.mean, estimate.interval()) == (0.0, (0.0, 0.0))
    assert (estimate.p, estimate.equivalence(0.005)) == (1.0, 0.0)
    assert estimate.detectable() == 0.0
    assert statistics.bootstrap(np.zeros((6, 30))) == (0.0, 0.0)
    assert statistics.sign_flip(np.zeros(6)) == 1.0


def test_a_constant_difference_is_certain() -> None:
    estimate = two_way(np.full((6, 30), -1.0))
    assert (estimate.p, estimate.equivalence(0.005), estimate.interval()) == (0.0, 1.0, (-1.0, -1.0))


def test_a_coincidence_of_equal_means_is_not_certainty() -> None:
    values = np.array([[1.0, -1.0], [-1.0, 1.0]])  # both replicates and both examples average to 0
    estimate = two_way(values)
    assert estimate.se == pytest.approx(1.0)  # MS_inter = 4, over n·m = 4
    assert estimate.equivalence(0.5) > 0.05


def test_estimate_interval_p_and_equivalence_agree() -> None:
    estimate = Estimate(mean=-0.4, se=0.1, df=9.0, rows=10)
    low, high = estimate.interval()
    assert Estimate(high - low, (high - low) / stats.t.ppf(0.975, 9), 9.0, 10).p == pytest.approx(0.05)
    # Equivalence at 5 % is the 90 % interval inside the margin.
    edge = -estimate.interval(0.9)[0]
    assert estimate.equivalence(edge) == pytest.approx(0.05)
    assert estimate.equivalence(edge * 1.01) < 0.05 < estimate.equivalence(edge * 0.99)


@pytest.mark.parametrize(("df", "alpha"), [(1.0, 0.01), (4.0, 0.05), (9.3, 0.05 / 7)])
def test_the_detectable_difference_is_found_with_power_four_fifths(df: float, alpha: float) -> None:
    rng = np.random.default_rng(3)
    difference = Estimate(0.0, 2.0, df, 5).detectable(alpha)
    t = (rng.standard_normal(100_000) + difference / 2.0) / np.sqrt(rng.chisquare(df, 100_000) / df)
    assert np.mean(np.abs(t) > stats.t.ppf(1 - alpha / 2, df)) == pytest.approx(0.8, abs=0.006)


def test_the_detectable_difference_of_many_degrees_of_freedom_is_the_normal_one() -> None:
    normal = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert Estimate(0.0, 1.0, 1e5, 5).detectable() == pytest.approx(normal, rel=1e-3)


def test_over_rows_is_students_t() -> None:
    values = np.random.default_rng(4).normal(0.2, 1.0, 9)
    assert statistics.over_rows(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_searches_count_once_each() -> None:
    values = np.arange(12.0).reshape(6, 2)
    rows = statistics.within_searches(values, np.array([0, 1, 2, 0, 1, 2]))
    assert rows.tolist() == [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    with pytest.raises(UserError, match="6 replicates, but 2"):
        statistics.within_searches(values, np.array([0, 1]))


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = [0.01, 0.04, 0.03]
    assert statistics.holm(p) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.benjamini_hochberg(p) == pytest.approx([0.03, 0.04, 0.04])
    assert statistics.holm([]) == []
    with pytest.raises(UserError, match="nan"):
        statistics.holm([0.1, math.nan])


def test_sign_flips_are_exact_for_few_replicates() -> None:
    assert statistics.sign_flip(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 / 2**5)
    assert statistics.sign_flip(np.array([1.0, 1.0, -1.0])) == pytest.approx(1.0)


def test_sign_flips_of_many_replicates_are_drawn_and_repeatable() -> None:
    rows = np.random.default_rng(5).normal(0.5, 1.0, 20)
    p = statistics.sign_flip(rows)
    assert p == statistics.sign_flip(rows)
    assert p == pytest.approx(stats.ttest_1samp(rows, 0).pvalue, abs=0.01)


def test_the_bootstrap_agrees_with_the_t_interval_where_both_hold() -> None:
    values = crossed(np.random.default_rng(6), 30, 400, 0.5, 3.0, 0.5)
    assert statistics.bootstrap(values) == pytest.approx(two_way(values).interval(), abs=0.04)
    assert statistics.bootstrap(values) == statistics.bootstrap(values)


def test_relative_reduction_improvement_and_interquartile_mean() -> None:
    assert statistics.relative_reduction(0.08, 0.10) == pytest.approx(0.2)
    assert statistics.relative_reduction(0.08, 0.0) is None
    low, high = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    assert statistics.probability_of_improvement(low, high) == 1.0
    assert statistics.probability_of_improvement(high, low) == 0.0
    assert statistics.probability_of_improvement(low, low) == 0.5
    assert statistics.interquartile_mean(np.array([0.0, 1.0, 2.0, 900.0])) == 1.5


def test_dust_of_decimal_weights_is_swept_off() -> None:
    wrong = np.array([[1.0, 0.0], [0.0, 1.0]])
    weights = [("a", 0.1), ("b", 0.2), ("c", -0.3)]
    assert not statistics.combine(weights, dict.fromkeys("abc", wrong)).any()


def test_values_that_are_not_finite_are_named_by_row() -> None:
    values = np.zeros((3, 4))
    values[2, 1] = np.nan
    with pytest.raises(UserError, match="row 2"):
        two_way(values)
    with pytest.raises(UserError, match="row 1"):
        statistics.over_rows(np.array([0.0, np.inf]))


@pytest.mark.parametrize("shape", [(1, 10), (10, 1), (0, 10)])
def test_one_replicate_has_no_interval(shape: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="at least two"):
        two_way(np.zeros(shape))


@pytest.mark.parametrize(("seed", "example"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.5), (0.1, 0.5)])
def test_coverage_and_the_rate_of_false_alarms(seed: float, example: float) -> None:
    """1,000 crossed designs without a difference; the standard error of a rate of 5 % is 0.7 %."""
    rng = np.random.default_rng(7)
    alarms = sum(two_way(crossed(rng, 6, 80, seed, example, 1.0)).p <= 0.05 for _ in range(1000)) / 1000
    assert 0.02 <= alarms <= 0.073
