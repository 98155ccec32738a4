"""The fast version of `benchmarks.statistics`: fewer studies, looser bounds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import statistics
from benchmarks.statistics import World


@pytest.mark.parametrize("world", [World(examples=300), World(examples=300, searches=5, quality=0.15)])
def test_equal_arms_are_rarely_called_different(world: World) -> None:
    false, of = statistics.false_verdicts(world, 30)
    assert of == 150
    assert false / of <= statistics.bound(0.05, of)


def test_the_simulation_would_notice_a_verdict_without_its_protection() -> None:
    """Configurations that do differ, one search: as claims on arms these verdicts are wrong, and often."""
    false, of = statistics.false_verdicts(World(examples=3000, quality=0.4), 20)
    assert false / of > statistics.bound(0.05, of)


def test_intervals_cover() -> None:
    shares = dict(statistics.coverage(150, examples=60))
    assert len(shares) == len(statistics.GRID)
    assert min(shares.values()) > 0.93 - 3 * np.sqrt(0.93 * 0.07 / 150)
    assert np.mean(list(shares.values())) > 0.94


def test_a_large_effect_is_found_and_none_is_not() -> None:
    difference, found = statistics.power(World(examples=2000, effect=-0.6), 10)
    assert difference < -1
    assert found == 1.0
    assert statistics.power(World(examples=2000), 10)[1] <= 0.2
