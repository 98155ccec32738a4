from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest
from vaetune.datasets.rotated import turn
from vaetune.errors import UserError

QUARTER = 1024
IMAGES = open_dataset("fashion_mini").development().images[:20]


def test_no_turn_and_full_quarters_are_exact() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 9, 9), np.uint8)
    for quarters in range(4):
        turned = turn(images, np.full(3, quarters * QUARTER))
        assert np.array_equal(turned, np.rot90(images, quarters, axes=(2, 3)))


def test_half_a_turn_of_an_oblong_image_is_exact() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 8), np.uint8)
    assert np.array_equal(turn(images, np.full(2, 2 * QUARTER)), images[:, :, ::-1, ::-1])


@pytest.mark.parametrize("degrees", [11.25, 45, 200.7421875])
def test_it_turns_as_pillow_does(degrees: float) -> None:
    turned = turn(IMAGES, np.full(len(IMAGES), round(degrees / 360 * 4096)))
    for mine, image in zip(turned[:, 0].astype(int), IMAGES[:, 0], strict=True):
        theirs = np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR)).astype(int)
        inner = np.hypot(*(np.indices((28, 28)) - 13.5)) < 12.5  # at the border Pillow does not blend with black
        assert np.abs(mine - theirs)[inner].max() <= 3


def test_angles_are_uniform_and_each_image_has_its_own() -> None:
    dataset = open_dataset("rotated:four_points")
    images = dataset.development()
    assert np.array_equal(images.labels, open_dataset("four_points").development().labels)
    upper_left = images.images[images.labels == 0].astype(int)
    assert len({image.tobytes() for image in upper_left}) > 200
    assert np.ptp(upper_left.mean(axis=(0, 1))) < 30  # of 255: the light is spread evenly


def test_the_splits_are_turned_differently_and_the_same_every_time() -> None:
    dataset = open_dataset("rotated:digits")
    assert digest(dataset.development()) == digest(open_dataset("rotated:digits").development())
    assert digest(dataset.development()) == "185a6552141fd39b5736dbb18573177772c19e1f1d8044f380e7074fcfe6eb97"


def test_mistakes_are_explained() -> None:
    with pytest.raises(UserError, match="write rotated:NAME"):
        open_dataset("rotated")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        open_dataset("rotated:digts")
