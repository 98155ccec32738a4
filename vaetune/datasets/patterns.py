"""What may stand behind an image: seeded grey patterns uint8 [N, H, W] that tell nothing of a class.

All but the photographs are drawn in whole numbers or in single additions and products, so that the pixels are the same
on every machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import UserError

Grey: TypeAlias = NDArray[np.uint8]
_GRAIN = 4  # pixels
_DARK, _LIGHT = (0, 96), (96, 192)  # ranges of the two levels of stripes and squares: white digits stay visible
_PHOTOGRAPHS = "datasets/images"  # in scikit-learn: china.jpg and flower.jpg, 640×427


def blank(_rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Black, as if there were no background."""
    return np.zeros((n, height, width), np.uint8)


def noise(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Uniform in every pixel."""
    return rng.integers(0, 256, (n, height, width), np.uint8)


def texture(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Smooth noise: random values on a coarse grid, interpolated between by rows, then by columns."""
    coarse = rng.integers(0, 256, (n, -(-height // _GRAIN) + 1, -(-width // _GRAIN) + 1), np.uint8)
    return _interpolated(_interpolated(coarse, height, axis=1), width, axis=2)


def horizontal(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Horizontal stripes: of a width, a phase and two levels of each image's own."""
    rows = _alternating(rng, n, height)[:, :, np.newaxis]
    return _two_levels(rng, np.broadcast_to(rows, (n, height, width)))


def vertical(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Vertical stripes, likewise."""
    columns = _alternating(rng, n, width)[:, np.newaxis, :]
    return _two_levels(rng, np.broadcast_to(columns, (n, height, width)))


def checkerboard(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Stripes both ways, crossed."""
    rows, columns = _alternating(rng, n, height), _alternating(rng, n, width)
    return _two_levels(rng, rows[:, :, np.newaxis] ^ columns[:, np.newaxis, :])


def mosaic(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Squares of four pixels' side, each of a random grey, from a random corner."""
    tiles = rng.integers(0, 256, (n, height // _GRAIN + 2, width // _GRAIN + 2), np.uint8)
    whole = tiles.repeat(_GRAIN, axis=1).repeat(_GRAIN, axis=2)
    return _windows(whole, np.arange(n), rng.integers(0, _GRAIN, n), rng.integers(0, _GRAIN, n), height, width)


def mandelbrot(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Pieces of the edge of the Mandelbrot set, by the number of steps to escape."""
    return _pieces(rng, n, height, width, (_mandelbrot(max(256, 2 * height, 2 * width)),))


def patches(rng: np.random.Generator, n: int, height: int, width: int) -> Grey:
    """Pieces of photographs: of the two that scikit-learn ships, in grey."""
    return _pieces(rng, n, height, width, _photographs())


KINDS: dict[str, Callable[[np.random.Generator, int, int, int], Grey]] = {
    "blank": blank,
    "noise": noise,
    "texture": texture,
    "horizontal": horizontal,
    "vertical": vertical,
    "checkerboard": checkerboard,
    "mosaic": mosaic,
    "mandelbrot": mandelbrot,
    "patches": patches,
}


def _interpolated(coarse: Grey, length: int, axis: int) -> Grey:
    cell, part = np.divmod(np.arange(length), _GRAIN)
    part = part.astype(np.uint16).reshape(-1, *[1] * (2 - axis))
    before, after = (np.take(coarse, cell + i, axis).astype(np.uint16) for i in (0, 1))
    return ((before * (_GRAIN - part) + after * part) // _GRAIN).astype(np.uint8)


def _alternating(rng: np.random.Generator, n: int, length: int) -> NDArray[np.bool_]:
    """[n, length]: on and off in turn, two to five pixels each."""
    step = rng.integers(2, 6, (n, 1))
    alternating: NDArray[np.bool_] = (np.arange(length) + rng.integers(0, 2 * step)) // step % 2 == 1
    return alternating


def _two_levels(rng: np.random.Generator, which: NDArray[np.bool_]) -> Grey:
    dark, light = (rng.integers(*levels, (len(which), 1, 1), np.uint8) for levels in (_DARK, _LIGHT))
    return np.where(which, light, dark)


def _pieces(rng: np.random.Generator, n: int, height: int, width: int, pictures: tuple[Grey, ...]) -> Grey:
    """Random windows of the pictures that are not nearly of one grey."""
    which = rng.integers(0, len(pictures), n)
    out = np.empty((n, height, width), np.uint8)
    for i, picture in enumerate(pictures):
        if height > picture.shape[0] or width > picture.shape[1]:
            raise UserError(f"a background of {width}x{height} pixels does not fit into pictures of {picture.shape}")
        chosen = np.flatnonzero(which == i)
        top, left = rng.choice(_lively(picture, height, width), len(chosen)).T
        out[chosen] = _windows(picture[np.newaxis], np.zeros(len(chosen), np.int64), top, left, height, width)
    return out


def _lively(picture: Grey, height: int, width: int) -> NDArray[np.int64]:
    """The corners [M, 2] of the windows whose pixels' standard deviation is at least 20; of all windows if none is."""
    first, second = (_window_sums(picture.astype(np.int64) ** power, height, width) for power in (1, 2))
    pixels = height * width
    lively = np.argwhere(pixels * second - first**2 >= (20 * pixels) ** 2)
    return lively if len(lively) else np.argwhere(first >= 0)


def _window_sums(values: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = sums[height:] - sums[:-height]
    return sums[:, width:] - sums[:, :-width]


def _windows(
    pictures: Grey, which: NDArray[np.int64], top: NDArray[np.int64], left: NDArray[np.int64], height: int, width: int
) -> Grey:
    """The windows [len(which), height, width] of `pictures` [M, …] at those corners."""
    rows, columns = top[:, np.newaxis] + np.arange(height), left[:, np.newaxis] + np.arange(width)
    windows: Grey = pictures[which[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
    return windows


@cache
def _mandelbrot(side: int) -> Grey:
    """A piece of the valley between the set's two largest parts."""
    x, y = (first + 0.012 * np.arange(side) / side for first in (-0.7511, 0.1072))
    a, b = np.broadcast_arrays(x[np.newaxis, :], y[:, np.newaxis])
    u, v = np.zeros_like(a), np.zeros_like(a)
    steps = np.zeros(a.shape, np.int64)
    for _ in range(256):
        # A point that has escaped stays where it is; each operation is rounded by itself, the same everywhere.
        inside = u * u + v * v < 4
        u, v = np.where(inside, u * u - v * v + a, u), np.where(inside, 2 * (u * v) + b, v)
        steps += inside
    return np.where(steps == 256, 0, steps * 5 % 256).astype(np.uint8)


@cache
def _photographs() -> tuple[Grey, ...]:
    from PIL import Image

    spec = importlib.util.find_spec("sklearn")
    for place in (spec and spec.submodule_search_locations) or ():
        files = sorted(Path(place, _PHOTOGRAPHS).glob("*.jpg"))
        if files:
            return tuple(np.asarray(Image.open(file).convert("L")) for file in files)
    raise UserError("the photographs of scikit-learn were not found: install scikit-learn 1.5 or later")
