"""Four images of 2x2 pixels with one white pixel each: the toy on which a latent space can be drawn whole.

The synthetic example of Mescheder, Nowozin and Geiger, *Adversarial Variational Bayes* (2017, arXiv:1701.04722): the
best posterior divides the prior into four parts. A toy: the test images are the same four, so its errors mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from vaetune.datasets.base import Dataset, Images, Request

SUMMARY = "four images, one white pixel each, 2x2 grey, repeated (1,024 + 256); made on the spot"
_DEVELOPMENT, _TEST = 1_024, 256


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FourPoints(Dataset):
    """The four images in turn; the label is the place of the white pixel, row by row."""

    def development(self) -> Images:
        """1,024 images: each of the four 256 times."""
        return _images(_DEVELOPMENT)

    def sealed_test(self) -> Images:
        """256 images: the same four, each 64 times."""
        return _images(_TEST)


def dataset(_request: Request) -> Dataset:
    """The toy; it needs no data root."""
    return FourPoints(
        name="four_points",
        summary=SUMMARY,
        licence="MIT, as vaetune",
        class_names=("upper left", "upper right", "lower left", "lower right"),
        shape=(1, 2, 2),
        test_size=_TEST,
    )


def _images(n: int) -> Images:
    labels = np.arange(n, dtype=np.int64) % 4
    return Images((np.eye(4, dtype=np.uint8) * 255)[labels].reshape(n, 1, 2, 2), labels)
