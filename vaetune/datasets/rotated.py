"""Another dataset, each image turned by an angle of its own: `rotated:mnist`.

After mnist-rot of Larochelle et al., *An Empirical Evaluation of Deep Architectures on Problems with Many Factors of
Variation* (ICML 2007): angles uniform in [0, 2π), what turns in from outside is black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.seeding import derive

SUMMARY = "another dataset, each image turned by a random angle, e.g. rotated:mnist"
_ANGLES = 4_096  # in a full turn
_PART = 256  # of a pixel
_CHUNK = 1_000  # images at a time


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rotated(Dataset):
    """Bilinear, in whole numbers: the same pixels on every machine."""

    base: Dataset

    def development(self) -> Images:
        """The other dataset's development images, turned."""
        return self._turned(self.base.development(), "development")

    def sealed_test(self) -> Images:
        """The other dataset's test images, turned."""
        return self._turned(self.base.sealed_test(), "test")

    def _turned(self, images: Images, split: str) -> Images:
        rng = np.random.default_rng(derive(f"{self.name} {split}"))
        angles = rng.integers(0, _ANGLES, len(images))
        parts = range(0, len(images), _CHUNK)
        turned = [turn(images.images[i : i + _CHUNK], angles[i : i + _CHUNK]) for i in parts]
        return Images(np.concatenate(turned), images.labels, images.groups)


def dataset(request: Request) -> Dataset:
    """The other dataset is opened as usual, from the same data roots."""
    base = open_dataset(request.argument, request.root, request.download)
    return Rotated(
        name=f"rotated:{request.argument}",
        summary=f"{base.summary}; each turned by a random angle",
        licence=base.licence,
        class_names=base.class_names,
        shape=base.shape,
        test_size=base.test_size,
        base=base,
    )


def turn(images: NDArray[np.uint8], angles: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`images` [N, C, H, W], each turned anticlockwise about its centre by its angle, in 4096ths of a full turn."""
    n, channels, height, width = images.shape
    radians = angles * (2 * np.pi / _ANGLES)
    # Rounded, so that mathematical libraries which differ in the last bit still give the same pixels.
    cos, sin = (np.rint(f(radians) * 2**16).astype(np.int64)[:, None, None] for f in (np.cos, np.sin))
    y, x = np.meshgrid(2 * np.arange(height) - (height - 1), 2 * np.arange(width) - (width - 1), indexing="ij")
    rows = _source(cos * y + sin * x, height)
    columns = _source(cos * x - sin * y, width)
    framed = np.zeros((n, channels, height + 2, width + 2), np.uint8)  # a black frame: nothing is read from outside
    framed[:, :, 1:-1, 1:-1] = images
    which, (row, down), (column, right) = np.arange(n)[:, None, None], np.divmod(rows, _PART), np.divmod(columns, _PART)
    out = np.zeros((n, height, width, channels), np.int64)
    for i, weight in ((0, _PART - down), (1, down)):
        for j, share in ((0, _PART - right), (1, right)):
            out += framed[which, :, row + i, column + j] * (weight * share)[..., None]
    return (out // _PART**2).astype(np.uint8).transpose(0, 3, 1, 2)


def _source(doubled: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where to read, in parts of a pixel of the framed image, given twice the offset from the centre, in 2⁻¹⁶."""
    offset = doubled * _PART // 2**17 + (size + 1) * _PART // 2
    return offset.clip(0, size * _PART + _PART - 1)
