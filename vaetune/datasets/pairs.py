"""Two datasets as one, paired by target: `pairs:LEFT::RIGHT`, for models of what the two share.

Each image of the left dataset comes once, with an image of the same class of the right dataset behind it on the channel
axis: the first C channels are the left image's, the rest the right one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.exchange import ExchangeDataset
from vaetune.errors import UserError
from vaetune.seeding import derive

SUMMARY = "two datasets side by side, paired by class, e.g. pairs:background:vertical,mnist::rotated:mnist"
_BETWEEN = "::"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs(Dataset):
    """The label is the class of both; `split_at` is the first channel of the right image."""

    left: Dataset
    right: Dataset

    @property
    def split_at(self) -> int:
        """How many channels belong to the left image."""
        return self.left.shape[0]

    def development(self) -> Images:
        """Pairs of the two development splits."""
        return self._paired(self.left.development(), self.right.development(), "development")

    def sealed_test(self) -> Images:
        """Pairs of the two test splits."""
        return self._paired(self.left.sealed_test(), self.right.sealed_test(), "test")

    def exchanged_test(self, source: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """The left test images, each with the private part of its source's left image; None where none is known."""
        return self.left.exchanged_test(source) if isinstance(self.left, ExchangeDataset) else None

    def _paired(self, left: Images, right: Images, split: str) -> Images:
        partners = partners_by_target(left.labels, right.labels, derive(f"{self.name} {split}"))
        return Images(np.concatenate([left.images, right.images[partners]], axis=1), left.labels, left.groups)


def dataset(request: Request) -> Dataset:
    """Both are opened as usual, from the same data roots; they must agree in classes, height and width."""
    left_name, between, right_name = request.argument.partition(_BETWEEN)
    if not (left_name and between and right_name):
        raise UserError(f"dataset 'pairs:{request.argument}': write pairs:LEFT::RIGHT")
    left, right = (open_dataset(name, request.root, request.download) for name in (left_name, right_name))
    if left.class_names != right.class_names:
        raise UserError(f"pairs of {left_name!r} and {right_name!r}: their classes differ")
    if left.shape[1:] != right.shape[1:]:
        sizes = " and ".join(f"{width}x{height}" for _, height, width in (left.shape, right.shape))
        raise UserError(f"pairs of {left_name!r} and {right_name!r}: their images differ in size, {sizes}")
    return Pairs(
        name=f"pairs:{request.argument}",
        summary=f"pairs by class: {left.summary} | {right.summary}",
        licence=f"{left.licence} | {right.licence}",
        class_names=left.class_names,
        shape=(left.shape[0] + right.shape[0], *left.shape[1:]),
        test_size=left.test_size,
        left=left,
        right=right,
    )


def partners_by_target(left: NDArray[np.int64], right: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """For each label of `left` the index of one of `right` that is equal, int64 [len(left)].

    Random, and as even as can be: within a class no index is used twice before all were used once.
    Raises `UserError` if a class of `left` is missing in `right`.
    """
    rng = np.random.default_rng(seed)
    partners = np.empty(len(left), np.int64)
    for label in np.unique(left):
        here, there = np.flatnonzero(left == label), np.flatnonzero(right == label)
        if not len(there):
            raise UserError(f"pairs by target: class {label} has no images on the right")
        rounds = -(-len(here) // len(there))
        partners[here] = np.concatenate([rng.permutation(there) for _ in range(rounds)])[: len(here)]
    return partners
