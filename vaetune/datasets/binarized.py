"""Another dataset in black and white, each pixel drawn once with its grey value as probability: `binarized:mnist`.

The fixed binarization of Salakhutdinov & Murray, *On the Quantitative Analysis of Deep Belief Networks* (ICML 2008),
with draws of our own: likelihoods compare with published ones up to the luck of the draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.seeding import derive

SUMMARY = "another dataset in black and white, each pixel drawn once by its grey value, e.g. binarized:mnist"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Binarized(Dataset):
    """Pixels 0 and 255."""

    base: Dataset

    def development(self) -> Images:
        """The other dataset's development images, drawn once."""
        return self._drawn(self.base.development(), "development")

    def sealed_test(self) -> Images:
        """The other dataset's test images, drawn once."""
        return self._drawn(self.base.sealed_test(), "test")

    def _drawn(self, images: Images, split: str) -> Images:
        rng = np.random.default_rng(derive(f"{self.name} {split}"))
        # Of 255 equally likely thresholds a grey value v is above v: 0 stays black, 255 white.
        white = rng.integers(0, 255, images.images.shape, np.uint8) < images.images
        return Images(white * np.uint8(255), images.labels, images.groups)


def dataset(request: Request) -> Dataset:
    """The other dataset is opened as usual, from the same data roots."""
    base = open_dataset(request.argument, request.root, request.download)
    return Binarized(
        name=f"binarized:{request.argument}",
        summary=f"{base.summary}; binarized once",
        licence=base.licence,
        class_names=base.class_names,
        shape=base.shape,
        test_size=base.test_size,
        base=base,
    )
