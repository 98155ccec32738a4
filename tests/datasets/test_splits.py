from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.datasets.splits import noisy_labels, second_split, split, stratified_order
from vaetune.errors import UserError

labels_of_any_balance = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(
    lambda counts: np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
)
TEN = np.random.default_rng(3).integers(0, 10, 1000)


@given(labels_of_any_balance, st.integers(0, 2**63 - 1))
def test_every_beginning_and_every_end_holds_each_class_in_proportion(labels: np.ndarray, seed: int) -> None:
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    counts = np.cumsum(labels[order][:, None] == np.unique(labels), axis=0)
    share = np.arange(1, len(labels) + 1)[:, None] * counts[-1] / len(labels)
    assert np.abs(counts - share).max() < 1
    assert np.abs((counts[-1] - counts) - (counts[-1] - share)).max() < 1


def test_the_extremes_that_defeat_simpler_rules() -> None:
    labels = np.repeat(np.arange(21), [1000] + [50] * 20)
    counts = np.cumsum(labels[stratified_order(labels, 0)][:, None] == np.arange(21), axis=0)
    share = np.arange(1, 2001)[:, None] * counts[-1] / 2000
    assert np.abs(counts - share).max() < 1


@given(labels_of_any_balance, st.data())
def test_training_and_validation_share_nothing_and_nest(labels: np.ndarray, data: st.DataObject) -> None:
    n_validation = data.draw(st.integers(0, len(labels) - 1))
    n_train = data.draw(st.integers(1, len(labels) - n_validation))
    train, validation = split(labels, n_validation, n_train, 5)
    everything, same_validation = split(labels, n_validation, None, 5)
    assert (len(train), len(validation)) == (n_train, n_validation)
    assert not set(train) & set(validation)
    assert np.array_equal(train, everything[:n_train])
    assert np.array_equal(validation, same_validation)
    assert sorted([*everything, *validation]) == list(range(len(labels)))


def test_no_validation_leaves_all_for_training() -> None:
    train, validation = split(TEN, 0, None, 1)
    assert sorted(train) == list(range(1000))
    assert validation.shape == (0,)


def test_the_same_seed_gives_the_same_numbers_on_every_machine() -> None:
    train, validation = split(TEN, 200, 300, 7)
    assert train.dtype == validation.dtype == np.int64
    assert train[:8].tolist() == [689, 41, 862, 285, 139, 478, 830, 154]
    assert validation[-8:].tolist() == [125, 914, 166, 886, 347, 794, 575, 338]


def test_another_seed_gives_another_split() -> None:
    assert not np.array_equal(split(TEN, 200, 300, 7)[0], split(TEN, 200, 300, 8)[0])


def test_ties_between_classes_do_not_always_fall_to_the_same_one() -> None:
    balanced = np.tile(np.arange(10), 10)
    assert len({int(balanced[split(balanced, 0, 1, seed)[0][0]]) for seed in range(40)}) > 5


@pytest.mark.parametrize(
    ("n_validation", "n_train"), [(-1, 10), (0, 0), (0, 1001), (1000, None), (600, 401), (1001, None)]
)
def test_impossible_numbers_are_named(n_validation: int, n_train: int | None) -> None:
    with pytest.raises(UserError, match=rf"cannot split 1000 .*{n_validation} validation"):
        split(TEN, n_validation, n_train, 0)


@given(labels_of_any_balance, st.floats(0, 1), st.floats(0, 1))
def test_noise_replaces_exactly_the_share_and_nests(labels: np.ndarray, a: float, b: float) -> None:
    small, large = (noisy_labels(labels, share, 12, 4) for share in sorted((a, b)))
    for share, noisy in zip(sorted((a, b)), (small, large), strict=True):
        assert np.count_nonzero(noisy != labels) == round(share * len(labels))
        assert noisy.min() >= 0
        assert noisy.max() < 12
    replaced = small != labels
    assert np.array_equal(small[replaced], large[replaced])


def test_noise_is_uniform_over_the_other_classes() -> None:
    labels = np.full(9000, 3)
    counts = np.bincount(noisy_labels(labels, 1.0, 10, 0), minlength=10)
    assert counts[3] == 0
    assert np.abs(np.delete(counts, 3) - 1000).max() < 5 * np.sqrt(1000)


def test_noise_leaves_its_input_alone_and_is_seeded() -> None:
    before = TEN.copy()
    noisy = noisy_labels(TEN, 0.1, 10, 9)
    assert np.array_equal(TEN, before)
    assert np.flatnonzero(noisy != TEN)[:6].tolist() == [13, 24, 28, 49, 61, 77]
    assert not np.array_equal(noisy, noisy_labels(TEN, 0.1, 10, 10))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_named(share: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        noisy_labels(TEN, share, 10, 0)


def test_noise_needs_another_class() -> None:
    with pytest.raises(UserError, match="at least 2 classes"):
        noisy_labels(np.zeros(4, np.int64), 0.5, 1, 0)


groups_and_sizes = st.lists(st.integers(0, 7), min_size=4, max_size=60).map(np.array)


@given(groups_and_sizes, st.data())
def test_no_group_is_parted(groups: np.ndarray, data: st.DataObject) -> None:
    labels = groups % 3
    n_validation = data.draw(st.integers(0, len(groups) - 1))
    seed = data.draw(st.integers(0, 9))
    try:
        train, validation = split(labels, n_validation, None, seed, groups)
    except UserError as error:
        assert "cannot split" in str(error)  # noqa: PT017 - either outcome is right, see the last assertion
        assert n_validation > len(groups) - np.bincount(groups).max(initial=0)
        return
    assert len(validation) == n_validation == len(set(validation.tolist()))
    assert not set(groups[train].tolist()) & set(groups[validation].tolist())
    spared = np.bincount(groups).max() - 1 if n_validation else 0  # so many images that any seed leaves them
    assert len(train) == len(set(train.tolist())) == len(groups) - n_validation - spared
    few, same = split(labels, n_validation, 1, seed, groups)
    assert few.tolist() == train[:1].tolist()
    assert same.tolist() == validation.tolist()


def test_validation_is_of_whole_groups_but_one() -> None:
    groups = np.repeat(np.arange(50), 10)
    _, validation = split(np.zeros(500, np.int64), 95, None, 0, groups)
    assert sorted(np.bincount(groups[validation], minlength=50))[-10:] == [5, *[10] * 9]


def test_different_seeds_choose_different_groups() -> None:
    groups = np.repeat(np.arange(50), 10)
    chosen = {frozenset(groups[split(groups % 2, 100, None, seed, groups)[1]].tolist()) for seed in range(9)}
    assert len(chosen) == 9


def test_more_than_the_other_groups_have_is_an_error() -> None:
    with pytest.raises(UserError, match=r"without parting groups .*: 10 images are left for training"):
        split(np.zeros(20, np.int64), 5, 12, 0, np.repeat([0, 1], 10))


@given(groups_and_sizes, st.data())
def test_the_second_split_validates_on_other_groups(groups: np.ndarray, data: st.DataObject) -> None:
    n_validation = data.draw(st.integers(1, len(groups) - 1))
    seed = data.draw(st.integers(0, 9))
    try:
        first, second = (which(groups % 3, n_validation, None, seed, groups) for which in (split, second_split))
    except UserError:
        # The groups of the first fold, and those that either fold had to spare, leave too few images.
        assert 2 * n_validation + 2 * np.bincount(groups).max() > len(groups)
        return
    assert not set(groups[first[1]].tolist()) & set(groups[second[1]].tolist())
    assert not set(groups[second[0]].tolist()) & set(groups[second[1]].tolist())
    assert len(second[1]) == n_validation
    assert len(second[0]) == len(first[0])
