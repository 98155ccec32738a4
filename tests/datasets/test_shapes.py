from __future__ import annotations

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest
from vaetune.datasets.factors import FactoredDataset


@pytest.fixture(scope="module")
def shapes() -> FactoredDataset:
    dataset = open_dataset("shapes")
    assert isinstance(dataset, FactoredDataset)
    return dataset


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape)
    return float((columns * image.astype(float)).sum() / image.sum()), float(
        (rows * image.astype(float)).sum() / image.sum()
    )


def test_every_combination_occurs_once_and_every_image_differs(shapes: FactoredDataset) -> None:
    factors = np.concatenate(shapes.factors())
    assert len(np.unique(factors, axis=0)) == len(factors) == np.prod(shapes.factor_sizes)
    assert factors.min(axis=0).tolist() == [0] * 5
    assert (factors.max(axis=0) + 1).tolist() == list(shapes.factor_sizes)
    images = np.concatenate([shapes.development().images, shapes.sealed_test().images])
    assert len({image.tobytes() for image in images}) == len(images)


def test_the_label_is_the_shape_and_images_follow_the_factors(shapes: FactoredDataset) -> None:
    for images, factors in zip((shapes.development(), shapes.sealed_test()), shapes.factors(), strict=True):
        assert np.array_equal(images.labels, factors[:, 0])
        assert np.array_equal(images.images[:50], shapes.render(factors[:50]))
        assert np.ptp(np.bincount(images.labels)) == 0


def test_position_moves_the_sprite_by_whole_pixels(shapes: FactoredDataset) -> None:
    here, there = shapes.render(np.array([[2, 3, 4, 1, 1], [2, 3, 4, 6, 2]]))[:, 0]
    assert np.array_equal(np.roll(here, (4, 20), axis=(0, 1)), there)


def test_scale_changes_the_area_as_its_square(shapes: FactoredDataset) -> None:
    for shape in range(3):
        small, large = (shapes.render(np.array([[shape, scale, 0, 3, 3]])).sum(dtype=np.int64) for scale in (0, 5))
        assert large / small == pytest.approx((14.5 / 7.0) ** 2, rel=0.02)


def test_orientation_turns_anticlockwise_about_the_centre(shapes: FactoredDataset) -> None:
    upright, turned = shapes.render(np.array([[0, 5, 0, 3, 3], [0, 5, 5, 3, 3]]))[:, 0]
    assert np.array_equal(upright[12:48, 12:48], turned[12:48, 12:48][::-1, ::-1])  # half a turn
    tenth = shapes.render(np.array([[1, 5, 1, 3, 3]]))[0, 0]
    x, y = (value - 29.5 for value in centre_of_mass(shapes.render(np.array([[1, 5, 0, 3, 3]]))[0, 0]))
    angle = np.pi / 5
    expected = np.cos(angle) * x + np.sin(angle) * y + 29.5, np.cos(angle) * y - np.sin(angle) * x + 29.5
    assert centre_of_mass(tenth) == pytest.approx(expected, abs=0.1)


def test_nothing_is_cut_off(shapes: FactoredDataset) -> None:
    largest = np.array([[shape, 5, turn, 3, 3] for shape in range(3) for turn in range(10)])
    images = shapes.render(largest)[:, 0, 12:48, 12:48]
    assert images[:, [0, -1]].max() == images[:, :, [0, -1]].max() == 0
    assert images.max() == 255


def test_the_pixels_are_the_same_everywhere(shapes: FactoredDataset) -> None:
    assert digest(shapes.development()) == "0c994825742cde9df940e01055fa7fbd8c0dc75b8e2a8d2239d2af56bb7b2e05"
    assert digest(shapes.sealed_test()) == "f7b38d068cc25ead1d84c2803975147a213ae6b982335376cbfded7ce39d97f7"
