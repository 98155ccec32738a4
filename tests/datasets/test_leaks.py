from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Images
from vaetune.datasets.leaks import counterfeit, leaks, overlap
from vaetune.datasets.splits import split


def about_test(name: str) -> bool:
    return name.startswith("test/")


@cache
def digits() -> tuple[Images, Images, Images]:
    """Training, validation and test images."""
    dataset = open_dataset("digits")
    pool = dataset.development()
    parts = split(pool.labels, 100, 200, 0)
    train, validation = (Images(pool.images[part], pool.labels[part]) for part in parts)
    return train, validation, dataset.sealed_test()


def normalised_with_test(test: Images) -> Mapping[str, Any]:
    train, validation, _ = digits()
    mean = np.concatenate([train.images, test.images]).mean()
    return {"val/brightness": (validation.images - mean).mean()}


def normalised_with_train(test: Images) -> Mapping[str, Any]:
    train, validation, _ = digits()
    mean = train.images.mean()
    return {"val/brightness": (validation.images - mean).mean(), "test/brightness": (test.images - mean).mean()}


def threshold_of_test_labels(test: Images) -> Mapping[str, Any]:
    return {"threshold": np.quantile(test.images[test.labels == 0].mean(axis=(1, 2, 3)), 0.95)}


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        (normalised_with_test, "val/brightness"),
        (threshold_of_test_labels, "threshold"),
    ],
)
def test_a_planted_leak_is_found(planted: Callable[[Images], Mapping[str, Any]], name: str) -> None:
    assert leaks(planted, digits()[2], about_test) == [name]


def test_statistics_of_the_training_images_are_no_leak() -> None:
    assert leaks(normalised_with_train, digits()[2], about_test) == []


def test_a_value_that_comes_and_goes_is_a_leak() -> None:
    def sometimes(test: Images) -> Mapping[str, Any]:
        return {"extra": 1.0} if test.labels[0] == digits()[2].labels[0] else {}

    assert leaks(sometimes, digits()[2], about_test) == ["extra"]


def test_what_is_not_reproducible_cannot_be_judged() -> None:
    draws = iter(range(9))
    with pytest.raises(ValueError, match="other values of x: seed"):
        leaks(lambda _: {"x": next(draws)}, digits()[2], about_test)


def test_a_counterfeit_shares_nothing_with_the_true_split() -> None:
    test = digits()[2]
    other = counterfeit(test)
    assert overlap(test, other).startswith("0 of 360")
    assert (other.labels != test.labels).all()
    assert set(other.labels.tolist()) == set(test.labels.tolist())


def test_images_and_people_in_both_splits_are_counted() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    labels, people = np.zeros(5, np.int64), np.array([1, 1, 2, 3, 4])
    development = Images(images[:3], labels[:3], people[:3])
    test = Images(images[[2, 3, 4]], labels[:3], np.array([1, 3, 4]))
    words = overlap(development, test)
    assert words.startswith("1 of 3 test images occur")
    assert words.endswith("1 groups (such as people) are in both")
    assert "people" not in overlap(Images(images, labels), test)
