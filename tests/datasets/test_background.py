from __future__ import annotations

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest
from vaetune.datasets.patterns import KINDS
from vaetune.errors import UserError

DIGITS = open_dataset("digits").development()


@pytest.mark.parametrize("kind", KINDS)
def test_white_stays_white_and_black_shows_the_background(kind: str) -> None:
    dataset = open_dataset(f"background:{kind},digits")
    images = dataset.development()
    assert np.array_equal(images.labels, DIGITS.labels)
    assert (images.images >= DIGITS.images).all()
    assert (images.images[DIGITS.images == 255] == 255).all()
    behind = images.images[DIGITS.images == 0]
    assert behind.std() > 30 or kind == "blank"
    assert behind.any() != (kind == "blank")


def test_every_image_and_split_has_a_background_of_its_own() -> None:
    dataset = open_dataset("background:noise,four_points")
    black = np.concatenate(
        [part.images[part.labels == 0][:60] for part in (dataset.development(), dataset.sealed_test())]
    )
    assert len({image.tobytes() for image in black}) == len(black)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("noise", "9c905aecb12a2725e8ae70c1d4c380616685cf70d656bdf07b3d33582c40234b"),
        ("texture", "e095af079cf6c8c575eba213cf989187008c8cd20e71a927e5cc2c9258e04957"),
    ],
)
def test_the_pixels_are_the_same_everywhere(kind: str, expected: str) -> None:
    assert digest(open_dataset(f"background:{kind},digits").development()) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("background", "write background:KIND,NAME"),
        ("background:noise", "write background:noise,mnist"),
        ("background:nois,digits", "unknown background 'nois': did you mean 'noise'"),
        ("background:noise,digts", "unknown dataset 'digts': did you mean 'digits'"),
        ("background:noise,", "write background:noise,mnist"),
    ],
)
def test_mistakes_are_explained(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        open_dataset(name)


def test_coloured_images_are_refused(empty_roots) -> None:
    from PIL import Image

    for split in ("train", "test"):
        folder = empty_roots / "red" / split / "all"
        folder.mkdir(parents=True)
        Image.new("RGB", (4, 4), "red").save(folder / "0.png")
    with pytest.raises(UserError, match="needs grey images, 'folder:red' has 3 channels"):
        open_dataset("background:noise,folder:red")
    assert open_dataset("background:noise,folder:red@4,grey").shape == (1, 4, 4)
