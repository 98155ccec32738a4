from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.stats import chisquare

from vaetune.datasets.patterns import KINDS
from vaetune.errors import UserError


def drawn(kind: str, n: int = 100, height: int = 28, width: int = 20) -> np.ndarray:
    return KINDS[kind](np.random.default_rng(0), n, height, width)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(28, 28), (8, 5), (1, 1)])
def test_every_size_is_filled_and_seeded(kind: str, height: int, width: int) -> None:
    found = drawn(kind, 40, height, width)
    assert found.shape == (40, height, width)
    assert found.dtype == np.uint8
    assert np.array_equal(found, drawn(kind, 40, height, width))
    others = KINDS[kind](np.random.default_rng(1), 40, height, width)
    assert np.array_equal(found, others) == (kind == "blank")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"blank"}))
def test_every_image_has_one_of_its_own(kind: str) -> None:
    assert len({image.tobytes() for image in drawn(kind)}) > 95


def test_noise_is_uniform_and_its_pixels_are_independent() -> None:
    found = drawn("noise", 200)
    assert chisquare(np.bincount(found.ravel(), minlength=256)).pvalue > 1e-3
    assert abs(np.corrcoef(found[:, :, :-1].ravel(), found[:, :, 1:].ravel())[0, 1]) < 0.02


def test_texture_is_smooth_along_both_axes() -> None:
    for axis in (1, 2):
        assert np.abs(np.diff(drawn("texture").astype(int), axis=axis)).max() <= 255 / 4 + 1  # a grain of four pixels


@pytest.mark.parametrize(("kind", "along", "across"), [("horizontal", 2, 1), ("vertical", 1, 2)])
def test_stripes_run_one_way(kind: str, along: int, across: int) -> None:
    found = drawn(kind).astype(int)
    assert not np.diff(found, axis=along).any()
    edges = np.diff(found, axis=across).any(axis=along)
    assert edges.any(axis=1).all()
    for image in edges:  # stripes of one width, two to five pixels
        assert len(set(np.diff(np.flatnonzero(image)))) == 1
        assert 2 <= np.diff(np.flatnonzero(image))[0] <= 5


def test_a_checkerboard_has_two_levels_and_changes_both_ways() -> None:
    for image in drawn("checkerboard"):
        assert len(np.unique(image)) == 2
        # Crossing a line changes every square: the pattern is a row's times a column's.
        flipped = image != image[0, 0]
        assert np.array_equal(flipped, flipped[:, :1] ^ flipped[:1, :])
        assert flipped[:, 0].any()
        assert flipped[0].any()


def test_a_mosaic_is_flat_within_its_squares() -> None:
    changes = np.diff(drawn("mosaic").astype(int), axis=1) != 0
    lines = changes.any(axis=2)  # only every fourth line may change, and there nearly all do
    for image in lines:
        assert set(np.diff(np.flatnonzero(image))) == {4}


@pytest.mark.parametrize("kind", ["mandelbrot", "patches"])
def test_pieces_of_pictures_are_not_flat(kind: str) -> None:
    assert drawn(kind).std(axis=(1, 2)).min() >= 20


def test_a_piece_cannot_be_larger_than_its_picture() -> None:
    with pytest.raises(UserError, match="1000x1000 pixels does not fit into pictures"):
        drawn("patches", 2, 1000, 1000)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("horizontal", "d4d36a7ca8ed3a5d"),
        ("checkerboard", "ec04fa6412081274"),
        ("mosaic", "90d3a564d36b4b7e"),
        ("mandelbrot", "9bba92400e23968d"),
    ],
)
def test_the_pixels_are_the_same_everywhere(kind: str, expected: str) -> None:
    assert hashlib.sha256(drawn(kind).tobytes()).hexdigest()[:16] == expected
