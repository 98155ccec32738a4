"""Crossing a study with a setting of its dataset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vaetune.errors import UserError
from vaetune.study import Arm, BestOf, Comparison, Replication, Study
from vaetune.study.axes import cross
from vaetune.study.plan import check

STUDY = Study(
    name="s",
    hypothesis="h",
    arms=(Arm(name="plain", summary=""), Arm(name="dropout", summary="", overrides={"model.dropout": 0.5})),
    comparisons=(Comparison(name="dropout − plain", question="?", weights=(("dropout", 1), (BestOf(("plain",)), -1))),),
    published={"plain": {"someone": 0.1}},
)


def test_every_arm_and_comparison_comes_once_at_each_value() -> None:
    crossed = cross(STUDY, "dataset.n_train", (100, 2000))
    assert [arm.name for arm in crossed.arms] == [
        *("plain_n_train_100", "dropout_n_train_100", "plain_n_train_2000", "dropout_n_train_2000")
    ]
    last = crossed.arms[-1]
    assert last.overrides == {"model.dropout": 0.5, "dataset.n_train": 2000}
    assert (last.base, last.at) == ("dropout", {"dataset.n_train": 2000})
    comparison = crossed.comparisons[-1]
    assert comparison.name == "dropout − plain, n_train = 2,000"
    assert comparison.weights == (("dropout_n_train_2000", 1), (BestOf(("plain_n_train_2000",)), -1))
    assert (comparison.base, comparison.at) == ("dropout − plain", {"dataset.n_train": 2000})
    assert crossed.published == {}


def test_crossing_twice_gives_a_grid_that_passes_the_checks() -> None:
    grid = cross(cross(STUDY, "dataset.n_train", (100, 200)), "dataset.label_noise", (0.0, 0.5))
    assert len(grid.arms) == 8
    assert grid.arms[-1].name == "dropout_n_train_200_label_noise_0_5"
    assert grid.arms[-1].base == "dropout"
    assert dict(grid.comparisons[-1].at) == {"dataset.n_train": 200, "dataset.label_noise": 0.5}
    check(replace(grid, replication=Replication(n=10)))


def test_the_family_is_all_of_them_so_few_replicates_are_refused() -> None:
    crossed = cross(STUDY, "dataset.label_noise", (0.0, 0.1, 0.2, 0.3))
    check(replace(STUDY, replication=Replication(n=6)))
    with pytest.raises(UserError, match="with 6 replicates none of 4 comparisons can be significant"):
        check(replace(crossed, replication=Replication(n=6)))


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("dataset.label_nose", (0, 1), r"dataset\.label_noise"),
        ("dataset.n_train", (5,), "at least two different values"),
        ("dataset.n_train", (5, 5, 6), "at least two different values"),
    ],
)
def test_what_is_no_axis(path: str, values: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cross(STUDY, path, values)
