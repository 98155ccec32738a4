"""Do the report's verdicts keep their promises? Type I, coverage and power on simulated studies.

    python -m benchmarks.statistics                     all three, some minutes
    python -m benchmarks.statistics --studies 100       a quick look

Exits with 1 where a promise is broken: more than 5 % (and three binomial standard errors) false verdicts among the
declared comparisons, or an interval that covers less than 93 % of the time.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vaetune.report.comparisons import decide, over_searches
from vaetune.report.statistics import Array, Estimate, combine, two_way

ARMS = 14
CONTRASTS: tuple[tuple[tuple[int, float], ...], ...] = (
    ((5, 1), (1, -1)),
    ((5, 1), (3, -1)),
    ((5, 1), (4, -1)),
    ((4, 1), (2, -1), (3, -1), (0, 1)),
)
"""The fixed comparisons of the regularizer ablation, by the places of its arms."""
BEST_OF = tuple(range(7, 14))
"""And the arms of which the best on validation is compared with arm 5."""
MARGIN = 0.005
TRIALS, FINALISTS, VALIDATION = 14, 2, 1000
SEED_SD, PATTERN_SD, QUALITY_SD = 0.08, 0.3, 0.15


@dataclass(frozen=True)
class World:
    """Studies in which all arms are the same procedure, on the log-odds scale of a test error of about 12 %.

    `quality` is the standard deviation between configurations: 0 means that the search chooses among equals and is
    mere noise. `effect` moves the error of arm 5, in log-odds.
    """

    n: int = 10
    examples: int = 10_000
    searches: int = 1
    quality: float = 0.0
    effect: float = 0.0


def study(world: World, rng: np.random.Generator) -> list[Array]:
    """The contrasts [row, example] of one study, the noisy search on each side included."""
    n, m = world.n, world.examples
    difficulty = rng.normal(-4.6, 3.0, m).astype(np.float32)  # a few images that everybody gets wrong, most nobody
    shared = rng.normal(0, SEED_SD, n)  # replicate i has the same split in every arm
    search = np.arange(n) % world.searches
    errors: dict[str, Array] = {}
    validation = np.empty(ARMS)
    for arm in range(ARMS):
        chosen = np.array([_searched(world, rng) for _ in range(world.searches)])[search]
        pattern = rng.normal(0, PATTERN_SD, m).astype(np.float32)  # a configuration's own tastes in images
        level = chosen + shared + rng.normal(0, SEED_SD, n) + (world.effect if arm == 5 else 0.0)
        odds = (difficulty + pattern)[None] + level.astype(np.float32)[:, None]
        wrong = rng.logistic(size=(n, m)) < odds
        errors[str(arm)] = wrong.astype(float)
        validation[arm] = _observed(float(wrong.mean()), n, rng)
    best = min(BEST_OF, key=lambda arm: validation[arm])
    weights = [*CONTRASTS, ((5, 1), (best, -1))]
    values = [combine([(str(arm), weight) for arm, weight in terms], errors) for terms in weights]
    return [over_searches(value, search.astype(np.int64)) for value in values]


def false_verdicts(world: World, studies: int, seed: int = 0) -> tuple[int, int]:
    """How many of the declared comparisons got "better" or "worse", and of how many."""
    rng = np.random.default_rng(seed)
    found = [v.outcome for _ in range(studies) for v in decide([two_way(d) for d in study(world, rng)], MARGIN)]
    return sum(outcome in ("better", "worse") for outcome in found), len(found)


def power(world: World, studies: int, seed: int = 0) -> tuple[float, float]:
    """The mean true difference of "5 − 1" in points, and the share of studies that call arm 5 better there."""
    rng = np.random.default_rng(seed)
    hits, differences = 0, []
    for _ in range(studies):
        estimates = [two_way(values) for values in study(world, rng)]
        hits += decide(estimates, MARGIN)[0].outcome == "better"
        differences.append(100 * estimates[0].mean)
    return float(np.mean(differences)), hits / studies


def crossed(n: int, m: int, seed: float, example: float, inter: float, rng: np.random.Generator) -> Array:
    """Values [n, m] with mean 0 and these standard deviations of seeds, examples and their interaction."""
    values: Array = rng.normal(0, seed, (n, 1)) + rng.normal(0, example, (1, m)) + rng.normal(0, inter, (n, m))
    return values


GRID = tuple(itertools.product((5, 10, 20), (0.0, 0.05, 0.3), (0.0, 0.3, 1.0), (0.1, 1.0)))
"""n, and the standard deviations of seeds, examples and interaction."""


def coverage(draws: int, examples: int = 200, seed: int = 0) -> Iterator[tuple[tuple[float, ...], float]]:
    """For every cell of the grid how often the 95 % interval holds the true mean."""
    rng = np.random.default_rng(seed)
    for n, seeds, patterns, inter in GRID:
        estimates = (two_way(crossed(n, examples, seeds, patterns, inter, rng)) for _ in range(draws))
        yield (n, seeds, patterns, inter), sum(_covers(estimate) for estimate in estimates) / draws


def bound(share: float, of: int) -> float:
    """The share and three binomial standard errors."""
    return share + 3 * math.sqrt(share * (1 - share) / of)


def _covers(estimate: Estimate) -> bool:
    low, high = estimate.interval()
    return low <= 0 <= high


def _searched(world: World, rng: np.random.Generator) -> float:
    """The configuration that search and selection choose: by a noisy validation error, then again on fresh seeds."""
    qualities = rng.normal(0, world.quality, TRIALS) if world.quality else np.zeros(TRIALS)
    first = _validated(qualities, 1, rng)
    finalists = qualities[np.argsort(first)[:FINALISTS]]
    return float(finalists[np.argmin(_validated(finalists, 3, rng))])


def _validated(qualities: Array, seeds: int, rng: np.random.Generator) -> Array:
    rates = 0.12 + 0.07 * (qualities[:, None] + rng.normal(0, SEED_SD, (len(qualities), seeds)))
    scores: Array = rng.binomial(VALIDATION, np.clip(rates, 0.01, 0.99)).mean(axis=1) / VALIDATION
    return scores


def _observed(rate: float, n: int, rng: np.random.Generator) -> float:
    return float(rng.binomial(VALIDATION, rate, n).mean()) / VALIDATION


WORLDS = {
    "one search, which chooses among equals": World(),
    "ten searches an arm, configurations differ": World(searches=10, quality=QUALITY_SD),
    "five searches an arm, configurations differ": World(searches=5, quality=QUALITY_SD),
}
CLAIMED = World(quality=QUALITY_SD)
"""One search, configurations differ: verdicts are on these configurations, and say so; as claims on arms they fail."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the three tables; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies for type I (default: 1000)")
    parser.add_argument("--draws", type=int, default=2000, help="simulated tables a cell for coverage (default: 2000)")
    parser.add_argument("--examples", type=int, default=10_000, help="test examples (default: 10000)")
    arguments = parser.parse_args(argv)
    broken = False
    print("Type I: share of the declared comparisons of equal arms called better or worse")
    for name, world in WORLDS.items():
        false, of = false_verdicts(_sized(world, arguments.examples), arguments.studies)
        broken |= false / of > bound(0.05, of)
        print(
            f"  {name}: {false} of {of}, {100 * false / of:.2f} % (at most 5 % + noise: {100 * bound(0.05, of):.2f} %)"
        )
    false, of = false_verdicts(_sized(CLAIMED, arguments.examples), max(1, arguments.studies // 5))
    print(
        f"  one search, configurations differ: {100 * false / of:.1f} % (of configurations that do differ; no promise)"
    )
    print("Coverage of the 95 % interval")
    cells = list(coverage(arguments.draws))
    for (n, *spread), share in cells:
        print(
            f"  n = {n:2.0f}, sd of seeds {spread[0]:g}, examples {spread[1]:g}, interaction {spread[2]:g}: {share:.3f}"
        )
    least, most = min(share for _, share in cells), max(share for _, share in cells)
    broken |= least < 0.93
    print(f"  least {least:.3f} (promised: 0.93), greatest {most:.3f}: too wide where seeds and examples hardly vary")
    print("Power of svae − deterministic_wide within the declared family")
    for effect in (-0.05, -0.1, -0.2, -0.4):
        difference, found = power(_sized(World(effect=effect), arguments.examples), max(1, arguments.studies // 5))
        print(f"  true difference {difference:+.2f} points: found in {100 * found:.0f} % of the studies")
    return int(broken)


def _sized(world: World, examples: int) -> World:
    return replace(world, examples=examples)


if __name__ == "__main__":
    sys.exit(main())
