from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.datasets import open_dataset
from vaetune.datasets.pairs import Pairs, partners_by_target
from vaetune.errors import UserError


def test_left_images_come_once_with_a_right_image_of_their_class() -> None:
    dataset = open_dataset("pairs:digits::background:blank,digits")
    assert isinstance(dataset, Pairs)
    assert (dataset.shape, dataset.split_at) == ((2, 8, 8), 1)
    base = open_dataset("digits")
    for pairs, alone in ((dataset.development(), base.development()), (dataset.sealed_test(), base.sealed_test())):
        assert np.array_equal(pairs.images[:, :1], alone.images)
        assert np.array_equal(pairs.labels, alone.labels)
        label_of = {image.tobytes(): label for image, label in zip(alone.images, alone.labels, strict=True)}
        assert [label_of[image.tobytes()] for image in pairs.images[:, 1:]] == pairs.labels.tolist()
        assert (pairs.images[:, 0] != pairs.images[:, 1]).any(axis=(1, 2)).mean() > 0.9  # not each with itself


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=12), st.integers(0, 9))
def test_partners_share_the_class_and_are_used_evenly(left: list[int], right: list[int], seed: int) -> None:
    ours, theirs = np.array(left, np.int64), np.array([*right, 0, 1, 2, 3], np.int64)
    partners = partners_by_target(ours, theirs, seed)
    assert np.array_equal(theirs[partners], ours)
    for label in range(4):
        uses = np.bincount(partners[ours == label], minlength=len(theirs))[theirs == label]
        assert np.ptp(uses) <= 1
    assert np.array_equal(partners, partners_by_target(ours, theirs, seed))


def test_a_class_without_partners_is_named() -> None:
    with pytest.raises(UserError, match="class 2 has no images on the right"):
        partners_by_target(np.array([0, 2]), np.array([0, 1]), 0)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("digits", "write pairs:LEFT::RIGHT"),
        ("digits::", "write pairs:LEFT::RIGHT"),
        ("digits::four_points", "their classes differ"),
        ("digits::digts", "did you mean 'digits'"),
        ("shapes::shapes@2", "unknown dataset"),
    ],
)
def test_mistakes_are_explained(argument: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(f"pairs:{argument}")


def test_sizes_must_agree(empty_roots) -> None:
    from PIL import Image

    for name, side in (("small", 4), ("large", 6)):
        for split in ("train", "test"):
            folder = empty_roots / name / split / "all"
            folder.mkdir(parents=True)
            Image.new("RGB", (side, side)).save(folder / "0.png")
    with pytest.raises(UserError, match="differ in size, 4x4 and 6x6"):
        open_dataset("pairs:folder:small::folder:large")
