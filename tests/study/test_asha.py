from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.study.asha import Rungs, Score
from vaetune.study.plan import rungs as planned

SCORES = st.tuples(st.integers(0, 5).map(float), st.integers(0, 2).map(float))  # few values: ties are common


@pytest.mark.parametrize(
    ("grace", "reduction", "length", "levels"),
    [
        (5, 3, 46, [5, 15, 45]),
        (5, 3, 45, [5, 15]),
        (5, 3, 5, []),
        (5, 3, 6, [5]),
        (1, 2, 9, [1, 2, 4, 8]),
        (9, 3, 4, []),
    ],
)
def test_levels_lie_below_the_length(grace: int, reduction: int, length: int, levels: list[int]) -> None:
    assert Rungs(grace, reduction).levels(length) == levels


@given(grace=st.integers(1, 20), reduction=st.integers(2, 5), length=st.integers(1, 500))
def test_the_plan_costs_the_rungs_that_the_search_has(grace: int, reduction: int, length: int) -> None:
    assert tuple(Rungs(grace, reduction).levels(length)) == planned(grace, reduction, length)


@given(scores=st.lists(SCORES, min_size=1, max_size=30), reduction=st.integers(2, 4))
def test_the_rule_against_brute_force(scores: list[Score], reduction: int) -> None:
    """The n-th to arrive goes on if it is no worse than the ⌈n / reduction⌉-th best of the n, ties included."""
    rungs = Rungs(1, reduction)
    for n, score in enumerate(scores, 1):
        threshold = sorted(scores[:n])[(n + reduction - 1) // reduction - 1]
        assert rungs.report(str(n), 1, score) == (score <= threshold)


def test_the_rule_by_hand() -> None:
    rungs = Rungs(5, 3)
    arrivals = [
        (0.5, True),
        (0.6, False),
        (0.7, False),
        (0.4, True),
        (0.5, True),
        (0.55, False),
        (0.45, True),
        (0.5, True),
    ]
    assert [rungs.report(str(i), 5, (value, 0.0)) for i, (value, _) in enumerate(arrivals)] == [
        on for _, on in arrivals
    ]


@given(n=st.integers(1, 20), reduction=st.integers(2, 5))
def test_ties_go_on(n: int, reduction: int) -> None:
    rungs = Rungs(1, reduction)
    assert all(rungs.report(str(i), 1, (0.25, 0.5)) for i in range(n))


def test_what_breaks_ties_decides_among_equal_objectives() -> None:
    rungs = Rungs(1, 2)
    assert rungs.report("first", 1, (0.25, 0.5))
    assert not rungs.report("worse", 1, (0.25, 0.6))
    assert rungs.report("better", 1, (0.25, 0.4))


def test_a_rung_judges_by_its_own_scores_only() -> None:
    rungs = Rungs(1, 2)
    for i in range(6):
        rungs.report(str(i), 1, (0.0, 0.0))
    assert rungs.report("a", 2, (9.0, 9.0))
    assert not rungs.report("b", 2, (10.0, 0.0))


@given(scores=st.lists(SCORES, min_size=1, max_size=10), again=st.data())
def test_a_score_told_again_counts_once(scores: list[Score], again: st.DataObject) -> None:
    once, twice = Rungs(1, 3), Rungs(1, 3)
    for i, score in enumerate(scores):
        expected = once.report(str(i), 1, score)
        assert twice.report(str(i), 1, score) == expected
        repeated = again.draw(st.integers(0, i))
        twice.report(str(repeated), 1, scores[repeated])
    assert once.scores == twice.scores


def test_the_share_that_goes_on_tends_to_one_in_reduction() -> None:
    """Later arrivals of a random order go on with probability about 1 / reduction: the plan counts on it."""
    rungs, order = Rungs(1, 3), [(i * 7919) % 1009 for i in range(1009)]
    went_on = [rungs.report(str(i), 1, (float(value), 0.0)) for i, value in enumerate(order)]
    assert math.isclose(sum(went_on) / len(went_on), 1 / 3, abs_tol=0.03)
