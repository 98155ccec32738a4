"""Sixteen points in eight dimensions: one of four shared components on, and one of four private ones.

The toy of conjoint models, which are to tell what paired datasets share from what each has for itself; see
`vaetune.datasets.pairs`. Stored as 2x4 pixels: above the shared component, below the private one. A toy: the test
images are the same sixteen, so its errors mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.exchange import ExchangeDataset
from vaetune.datasets.factors import FactoredDataset

SUMMARY = "sixteen points in 8 dimensions, a shared and a private part, repeated (1,024 + 256); made on the spot"
_DEVELOPMENT, _TEST = 1_024, 256
_PARTS = 4


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ConjointToy(FactoredDataset, ExchangeDataset):
    """The sixteen in turn; the label is the shared component."""

    def development(self) -> Images:
        """1,024 images: each of the sixteen 64 times."""
        return self._images(self.factors()[0])

    def sealed_test(self) -> Images:
        """256 images: the same sixteen, each 16 times."""
        return self._images(self.factors()[1])

    def factors(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shared and the private component of the development and of the test images."""
        development, test = (np.stack(np.divmod(np.arange(n) % _PARTS**2, _PARTS), 1) for n in (_DEVELOPMENT, _TEST))
        return development, test

    def render(self, factors: NDArray[np.int64]) -> NDArray[np.uint8]:
        """One white pixel in each row."""
        return (np.eye(_PARTS, dtype=np.uint8) * np.uint8(255))[factors][:, np.newaxis]

    def exchanged_test(self, source: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The upper row stays, the lower is the source's."""
        factors = self.factors()[1]
        return self.render(np.stack([factors[:, 0], factors[source, 1]], 1))

    def _images(self, factors: NDArray[np.int64]) -> Images:
        return Images(self.render(factors), factors[:, 0].copy())


def dataset(_request: Request) -> Dataset:
    """The toy; it needs no data root."""
    return ConjointToy(
        name="conjoint_toy",
        summary=SUMMARY,
        licence="MIT, as vaetune",
        class_names=tuple(f"shared {i}" for i in range(_PARTS)),
        shape=(1, 2, _PARTS),
        test_size=_TEST,
        factor_names=("shared", "private"),
        factor_sizes=(_PARTS, _PARTS),
    )
