"""Another grey dataset before a background that tells nothing of the class: `background:noise,mnist` and the like.

After the variations of MNIST in Larochelle et al., *An Empirical Evaluation of Deep Architectures on Problems with Many
Factors of Variation* (ICML 2007). `noise` is uniform in every pixel, as in their mnist-back-rand; `texture` is smooth
noise of about four pixels' grain, in place of their patches of downloaded pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.errors import UserError, unknown
from vaetune.seeding import derive

SUMMARY = "another grey dataset before a background of noise or texture, e.g. background:noise,mnist"
_GRAIN = 4  # pixels


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Background(Dataset):
    """White is in front: a pixel of brightness d over a background b shows d + (1 − d/255)·b."""

    base: Dataset
    kind: str

    def development(self) -> Images:
        """The other dataset's development images, each before a background of its own."""
        return self._before(self.base.development(), "development")

    def sealed_test(self) -> Images:
        """The other dataset's test images, each before a background of its own."""
        return self._before(self.base.sealed_test(), "test")

    def _before(self, images: Images, split: str) -> Images:
        rng = np.random.default_rng(derive(f"{self.name} {split}"))
        front = images.images.astype(np.uint16)
        behind = KINDS[self.kind](rng, *images.images[:, 0].shape)[:, np.newaxis]
        return Images((front + (255 - front) * behind // 255).astype(np.uint8), images.labels)


def dataset(request: Request) -> Dataset:
    """The other dataset is opened as usual, from the same data roots."""
    kind, comma, name = request.argument.partition(",")
    if not comma or not name:
        raise UserError(f"dataset 'background:{request.argument}': write background:noise,mnist")
    if kind not in KINDS:
        raise unknown("background", kind, KINDS)
    base = open_dataset(name, request.root, request.download)
    if base.shape[0] != 1:
        raise UserError(f"background:{kind} needs grey images, {name!r} has {base.shape[0]} channels")
    return Background(
        name=f"background:{request.argument}",
        summary=f"{base.summary}; before a background of {kind}",
        licence=base.licence,
        class_names=base.class_names,
        shape=base.shape,
        test_size=base.test_size,
        base=base,
        kind=kind,
    )


def _noise(rng: np.random.Generator, n: int, height: int, width: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (n, height, width), np.uint8)


def _texture(rng: np.random.Generator, n: int, height: int, width: int) -> NDArray[np.uint8]:
    """Random values on a coarse grid, interpolated between: by rows, then by columns."""
    coarse = rng.integers(0, 256, (n, -(-height // _GRAIN) + 1, -(-width // _GRAIN) + 1), np.uint8)
    return _interpolated(_interpolated(coarse, height, axis=1), width, axis=2)


def _interpolated(coarse: NDArray[np.uint8], length: int, axis: int) -> NDArray[np.uint8]:
    """In whole numbers, so that the pixels are the same on every machine."""
    cell, part = np.divmod(np.arange(length), _GRAIN)
    part = part.astype(np.uint16).reshape(-1, *[1] * (2 - axis))
    before, after = (np.take(coarse, cell + i, axis).astype(np.uint16) for i in (0, 1))
    return ((before * (_GRAIN - part) + after * part) // _GRAIN).astype(np.uint8)


KINDS: dict[str, Callable[[np.random.Generator, int, int, int], NDArray[np.uint8]]] = {
    "noise": _noise,
    "texture": _texture,
}
