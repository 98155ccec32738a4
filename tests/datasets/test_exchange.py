"""The private part of one test image in another: exact, because both parts are known."""

from __future__ import annotations

import numpy as np

from vaetune.datasets import open_dataset
from vaetune.datasets.exchange import ExchangeDataset, sources
from vaetune.datasets.pairs import Pairs


def test_the_toy_keeps_its_upper_row_and_takes_the_lower() -> None:
    toy = open_dataset("conjoint_toy")
    assert isinstance(toy, ExchangeDataset)
    images, source = toy.sealed_test().images, sources(toy.test_size)
    exchanged = toy.exchanged_test(source)
    np.testing.assert_array_equal(exchanged[:, :, 0], images[:, :, 0])
    np.testing.assert_array_equal(exchanged[:, :, 1], images[source][:, :, 1])
    assert (exchanged != images).any((1, 2, 3)).mean() > 0.7


def test_a_digit_stays_before_another_background() -> None:
    dataset = open_dataset("background:noise,digits")
    assert isinstance(dataset, ExchangeDataset)
    images, front = dataset.sealed_test().images, open_dataset("digits").sealed_test().images
    source = sources(len(images))
    exchanged = dataset.exchanged_test(source)
    np.testing.assert_array_equal(exchanged[front == 255], 255)
    both = (front == 0) & (front[source] == 0)  # here nothing hides either background
    np.testing.assert_array_equal(exchanged[both], images[source][both])
    np.testing.assert_array_equal(dataset.exchanged_test(np.arange(len(images))), images)


def test_pairs_exchange_what_their_left_dataset_can() -> None:
    pairs = open_dataset("pairs:conjoint_toy::conjoint_toy")
    assert isinstance(pairs, Pairs)
    source = sources(pairs.test_size)
    exchanged = pairs.exchanged_test(source)
    assert exchanged is not None
    left = pairs.sealed_test().images[:, :1]
    np.testing.assert_array_equal(exchanged[:, :, 0], left[:, :, 0])
    np.testing.assert_array_equal(exchanged[:, :, 1], left[source][:, :, 1])
    plain = open_dataset("pairs:digits::digits")
    assert isinstance(plain, Pairs) and plain.exchanged_test(sources(plain.test_size)) is None


def test_every_image_has_another_source() -> None:
    assert (sources(20) != np.arange(20)).all()
    assert sorted(sources(20)) == list(range(20))
