"""Shapes with known factors: every combination of shape, scale, orientation and position, once.

In the manner of dSprites (Matthey et al. 2017), but *not* that set: no shape here has a rotational symmetry, so that
all images differ, orientation is never ambiguous, and no test image occurs among the development images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.factors import FactoredDataset
from vaetune.datasets.splits import split

SUMMARY = "11,520 white shapes on black with 5 known factors, 64x64 grey (9,216 + 2,304); made on the spot"
SHAPES = ("triangle", "corner", "heart")
SIZES = (len(SHAPES), 6, 10, 8, 8)
_SCALES = (7.0, 8.5, 10.0, 11.5, 13.0, 14.5)  # pixels from the centre to about the edge
_SIDE, _REACH, _STEP = 64, 18, 4  # of the image; of a sprite around its centre; between positions, all in pixels
_SAMPLES = 4  # per pixel and axis
_N_TEST, _TEST_SEED = 2_304, 64  # facts of this dataset: changing them breaks every stored result


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes(FactoredDataset):
    """All combinations of the factors; the label is the shape."""

    def development(self) -> Images:
        """9,216 random combinations."""
        return self._images(self.factors()[0])

    def sealed_test(self) -> Images:
        """The other 2,304 combinations."""
        return self._images(self.factors()[1])

    def factors(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shape, scale, orientation, x, y of the development and of the test images."""
        grid = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1).astype(np.int64)
        development, test = split(grid[:, 0], _N_TEST, None, _TEST_SEED)
        return grid[np.sort(development)], grid[np.sort(test)]

    def render(self, factors: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images, uint8 [N, 1, 64, 64]; positions are whole pixels, so a sprite is drawn once and moved."""
        images = np.zeros((len(factors), 1, _SIDE, _SIDE), np.uint8)
        for image, (shape, scale, orientation, x, y) in zip(images, factors.tolist(), strict=True):
            left, top = x * _STEP, y * _STEP
            image[0, top : top + 2 * _REACH, left : left + 2 * _REACH] = _sprite(shape, scale, orientation)
        return images

    def _images(self, factors: NDArray[np.int64]) -> Images:
        return Images(self.render(factors), factors[:, 0].copy())


def dataset(_request: Request) -> Dataset:
    """The whole grid; it needs no data root."""
    return Shapes(
        name="shapes",
        summary=SUMMARY,
        licence="MIT, as vaetune",
        class_names=SHAPES,
        shape=(1, _SIDE, _SIDE),
        test_size=_N_TEST,
        factor_names=("shape", "scale", "orientation", "x", "y"),
        factor_sizes=SIZES,
    )


@cache
def _sprite(shape: int, scale: int, orientation: int) -> NDArray[np.uint8]:
    """One shape, antialiased, uint8 [36, 36]."""
    n = 2 * _REACH * _SAMPLES
    axis = (np.arange(n) + 0.5) / _SAMPLES - _REACH
    angle = 2 * np.pi * orientation / SIZES[2]
    # Rounded, so that mathematical libraries which differ in the last bit still draw the same pixels.
    cos, sin = round(float(np.cos(angle)), 9), round(float(np.sin(angle)), 9)
    x, y = axis[None, :] / _SCALES[scale], -axis[:, None] / _SCALES[scale]
    inside = _inside(SHAPES[shape], cos * x + sin * y, cos * y - sin * x)
    counts = inside.reshape(2 * _REACH, _SAMPLES, 2 * _REACH, _SAMPLES).sum(axis=(1, 3))
    sprite: NDArray[np.uint8] = (counts * 255 // _SAMPLES**2).astype(np.uint8)
    return sprite


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points belong to the shape, whose centre is the origin and whose size is about 1; y points up."""
    if shape == "triangle":
        return (y > -0.7) & (y < 0.9 - 2.9 * x) & (y < 0.9 + 2.9 * x)
    if shape == "corner":
        return ((x > -0.6) & (x < -0.1) & (abs(y) < 0.8)) | ((abs(x) < 0.6) & (y > -0.8) & (y < -0.3))
    assert shape == "heart", shape
    u, v = 1.3 * x, 1.3 * y
    r = u * u + v * v - 1
    inside: NDArray[np.bool_] = r * r * r < u * u * v * v * v
    return inside
