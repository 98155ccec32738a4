"""The statistics of paired replicates: one standard error for estimate, interval, p value and equivalence test.

Values are contrasts of losses where smaller is better, as `D[replicate, example]` (n × m). All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats  # type: ignore[import-untyped]
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from vaetune.errors import UserError

Array = npt.NDArray[np.float64]

ALPHA = 0.05
POWER = 0.8
EXACT_FLIPS = 14  # up to this many replicates every one of the 2^n sign patterns is visited
DRAWS = 10_000  # sign patterns beyond that
RESAMPLES = 2_000  # of the crossed bootstrap


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error and the degrees of freedom of that error (real numbers, by Satterthwaite).

    `rows` counts the replicates (or searches) and `examples` the test examples behind it; `examples` is 0 where
    the estimate is conditional on the test set. A standard error of 0 is legal: all values were the same.
    """

    mean: float
    se: float
    df: float
    rows: int
    examples: int = 0

    def interval(self, level: float = 1 - ALPHA) -> tuple[float, float]:
        """The two-sided t interval."""
        half = float(stats.t.ppf((1 + level) / 2, self.df)) * self.se
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p value of "the mean is 0"."""
        if self.se == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df))

    def equivalence(self, margin: float) -> float:
        """p value of two one-sided t tests (TOST) against "the mean is at least `margin` away from 0"."""
        if self.se == 0:
            return 0.0 if abs(self.mean) <= margin else 1.0
        return float(stats.t.sf((margin - abs(self.mean)) / self.se, self.df))

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float:
        """The smallest |mean| that a two-sided t test at `alpha` finds with this `power`, at this standard error."""
        if self.se == 0:
            return 0.0
        critical = float(stats.t.ppf(1 - alpha / 2, self.df))
        # The power is an average over the estimated standard error, whose quantiles stand for it here: scipy's
        # non-central t returns NaN for few degrees of freedom.
        errors = np.sqrt(stats.chi2.ppf((np.arange(4096) + 0.5) / 4096, self.df) / self.df)

        def lacking(ratio: float) -> float:
            found = stats.norm.sf(critical * errors - ratio) + stats.norm.cdf(-critical * errors - ratio)
            return float(found.mean()) - power

        return float(optimize.brentq(lacking, 0.0, 10 * critical + 10)) * self.se


def two_way(values: Array) -> Estimate:
    """The mean of `values[replicate, example]`, replicates and examples both random and crossed.

    SE² = [MS_seed + max(MS_example − MS_inter, 0)] / (n·m), unbiased for the variance of the grand mean when
    the maximum does not bind; degrees of freedom by Satterthwaite (Biometrics Bulletin 2, 1946) from the mean
    squares that stand in it, but never fewer than the shorter side gives, which the subtraction would allow.
    Where SE is 0 though the values differ (a coincidence of few replicates on few examples), MS_inter, the least
    that the model allows, stands in: no p of 0 by accident.
    Raises `UserError` for fewer than 2 × 2 values and for values that are not finite.
    """
    values = _checked(values, 2)
    n, m = values.shape
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    seed = m * float(np.sum((rows - grand) ** 2)) / (n - 1)
    example = n * float(np.sum((columns - grand) ** 2)) / (m - 1)
    inter = float(np.sum((values - rows[:, None] - columns + grand) ** 2)) / ((n - 1) * (m - 1))
    if np.ptp(values) == 0:
        return Estimate(float(values[0, 0]), 0.0, n - 1, n, m)
    if example > inter:
        total = seed + example - inter
        df = total**2 / (seed**2 / (n - 1) + example**2 / (m - 1) + inter**2 / ((n - 1) * (m - 1)))
        df = max(df, min(n, m) - 1)
    else:
        total, df = seed, n - 1
    if math.isclose(total, 0, abs_tol=1e-12 * inter):
        total, df = inter, n - 1
    return Estimate(float(grand), math.sqrt(total / (n * m)), df, n, m)


def over_rows(values: Array) -> Estimate:
    """The mean of one value a replicate (or search), by Student's t: conditional on the test set.

    For what is no mean over examples (calibration errors, gaps, scales). Raises `UserError` as `two_way` does.
    """
    values = _checked(values, 1)
    se = 0.0 if np.ptp(values) == 0 else float(stats.sem(values))
    return Estimate(float(values.mean()), se, len(values) - 1, len(values))


def estimated(values: Array) -> Estimate:
    """Of [replicate, example] by `two_way`; of one value a replicate by `over_rows`."""
    return two_way(values) if np.ndim(values) == 2 else over_rows(values)


def by_replicate(values: Array) -> Array:
    """One value a replicate: the mean over examples where there are any."""
    return values if values.ndim == 1 else values.mean(axis=1)


def combine(weights: Sequence[tuple[str, float]], values: Mapping[str, Array]) -> Array:
    """Σ weight · values[arm], with the dust of decimal weights swept off: equal columns give exactly 0."""
    total: Array = np.sum([weight * values[arm] for arm, weight in weights], axis=0)
    return np.round(total, 12)


def within_searches(values: Array, search: npt.NDArray[np.int64]) -> Array:
    """One row a search: the mean of its replicates' rows, in order of search number.

    `values` is [n, m] or [n], `search` [n]. What follows is then inference over searches, not over seeds.
    """
    if len(values) != len(search):
        raise UserError(f"{len(values)} replicates, but {len(search)} search numbers: every replicate needs one")
    return np.stack([values[search == s].mean(axis=0) for s in np.unique(search)])


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for the whole family by Holm's step-down method."""
    return _adjusted(p, "holm")


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """p values adjusted for the false discovery rate, for what was not declared in advance."""
    return _adjusted(p, "fdr_bh")


def bootstrap(values: Array, seed: int = 0, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Percentile interval of the crossed bootstrap: replicates and examples are both drawn again, independently.

    A check on `two_way`, not a rival: it counts the interaction's variance three times (McCullagh, Bernoulli 6,
    2000), hence is a little wide where that dominates, and is narrow for few replicates.
    """
    values = _checked(values, 2)
    n, m = values.shape
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        replicates = np.bincount(generator.integers(n, size=n), minlength=n)
        examples = np.bincount(generator.integers(m, size=m), minlength=m)
        means[i] = replicates @ (values @ examples) / (n * m)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flip(rows: Array, seed: int = 0) -> float:
    """Two-sided p value of the sign-flip test on one contrast a replicate; exact for n ≤ 14, else Monte Carlo."""
    rows = _checked(rows, 1)
    draws = 2**EXACT_FLIPS if len(rows) <= EXACT_FLIPS else DRAWS
    test = stats.permutation_test(
        (rows,), np.mean, permutation_type="samples", n_resamples=draws, rng=np.random.default_rng(seed)
    )
    return float(test.pvalue)


def relative_reduction(ours: float, theirs: float) -> float | None:
    """The share of `theirs` error that `ours` removes; None where they make none."""
    return None if theirs == 0 else 1 - ours / theirs


def probability_of_improvement(ours: Array, theirs: Array) -> float:
    """P(a replicate of ours errs less than one of theirs) over all pairs, ties counting half.

    As in Agarwal et al., NeurIPS 2021 (the Mann–Whitney statistic), with smaller values better.
    """
    ours, theirs = _checked(ours, 1), _checked(theirs, 1)
    return float(stats.mannwhitneyu(theirs, ours).statistic) / (len(ours) * len(theirs))


def interquartile_mean(values: Array) -> float:
    """The mean of the middle half, deaf to a single lucky or diverged replicate."""
    return float(stats.trim_mean(_checked(values, 1), 0.25))


def _adjusted(p: Sequence[float], method: str) -> list[float]:
    if not all(0 <= value <= 1 for value in p):
        raise UserError(f"p values must lie in [0, 1], found {list(p)}")
    return [float(value) for value in multipletests(p, method=method)[1]] if len(p) else []


def _checked(values: Array, dimensions: int) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != dimensions:
        raise UserError(f"expected an array of {dimensions} dimensions, found shape {values.shape}")
    if min(values.shape) < 2:
        raise UserError(
            f"an interval needs at least two replicates{' and two test examples' if dimensions == 2 else ''}, "
            f"found {' × '.join(map(str, values.shape))}: raise replication.n"
        )
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        raise UserError(f"row {bad[0]} holds a value that is not finite: a failed replicate must score chance error")
    return values
