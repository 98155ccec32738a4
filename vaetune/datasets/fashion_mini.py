"""The set that comes with the package: 5,000 Fashion-MNIST training images and all 10,000 test images.

How it was cut, and from what, is in embedded/fashion_mini/PROVENANCE.md; `cut_fashion_mini` cuts it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from vaetune.datasets import idx
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.fashion_mnist import CLASS_NAMES, LICENCE

SUMMARY = "15,000 pictures of clothes, 28×28 grey (5,000 + 10,000), a cut of Fashion-MNIST; part of the package"
FOLDER = Path(__file__).parent / "embedded" / "fashion_mini"
TRAIN_FILES = ("train-images-idx3-ubyte.gz",)
TEST_FILES = ("t10k-images-0-idx3-ubyte.gz", "t10k-images-1-idx3-ubyte.gz")  # halves, to keep each file below 3 MB
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FashionMini(Dataset):
    """IDX files inside the package."""

    def development(self) -> Images:
        """5,000 images, 500 a class, of the published training split."""
        return _images(TRAIN_FILES, TRAIN_LABELS)

    def sealed_test(self) -> Images:
        """The published test split, whole."""
        return _images(TEST_FILES, TEST_LABELS)


def dataset(_request: Request) -> Dataset:
    """The embedded set; it needs no data root and no download."""
    return FashionMini(
        name="fashion_mini",
        summary=SUMMARY,
        licence=LICENCE,
        class_names=CLASS_NAMES,
        shape=(1, 28, 28),
        test_size=10_000,
    )


def _images(image_files: tuple[str, ...], label_file: str) -> Images:
    images = np.concatenate([idx.read(FOLDER / name) for name in image_files])
    return Images(images[:, np.newaxis], idx.read(FOLDER / label_file).astype(np.int64))
