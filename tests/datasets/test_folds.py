"""Two validation folds of one split."""

from __future__ import annotations

import numpy as np
import pytest

from vaetune.datasets.folds import folded
from vaetune.datasets.splits import split
from vaetune.errors import UserError

LABELS = np.arange(100) % 10


def test_the_first_fold_is_the_split_itself() -> None:
    for mine, plain in zip(folded(LABELS, 20, 50, 3, 0), split(LABELS, 20, 50, 3), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_the_folds_are_disjoint_stratified_and_change_places() -> None:
    (train, first), (other_train, second) = (folded(LABELS, 20, None, 3, fold) for fold in (0, 1))
    assert not set(first) & set(second)
    assert set(second) < set(train)
    assert set(first) < set(other_train)
    assert len(other_train) == len(train) == 80
    assert set(train) | set(first) == set(other_train) | set(second) == set(range(100))
    for part in (first, second):
        assert np.bincount(LABELS[part]).tolist() == [2] * 10


def test_a_small_training_set_is_the_same_in_both_folds() -> None:
    np.testing.assert_array_equal(folded(LABELS, 20, 30, 3, 0)[0], folded(LABELS, 20, 30, 3, 1)[0])


def test_a_training_set_that_needs_the_first_fold_gets_it() -> None:
    train, second = folded(LABELS, 20, 75, 3, 1)
    assert len(train) == 75
    assert not set(train) & set(second)


def test_two_folds_must_fit() -> None:
    with pytest.raises(UserError, match="two validation folds of 50"):
        folded(LABELS, 50, None, 3, 1)


def test_folds_with_groups_part_none_of_them_and_train_on_equally_many() -> None:
    groups = np.arange(100) // 4
    parts = [folded(LABELS, 20, None, seed, fold, groups) for seed in range(5) for fold in (0, 1)]
    assert {(len(train), len(validation)) for train, validation in parts} == {(77, 20)}  # 100 − 20 − (4 − 1)
    for train, validation in parts:
        assert not set(groups[train]) & set(groups[validation])
    for (_, first), (_, second) in zip(parts[::2], parts[1::2], strict=True):
        assert not set(groups[first]) & set(groups[second])
    with pytest.raises(UserError, match="two validation folds of 49 images that part no group"):
        folded(LABELS, 49, None, 0, 1, groups)
