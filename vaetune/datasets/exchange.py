"""Datasets whose images have a part that can be put into another image, for measures of its transfer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class ExchangeDataset(Dataset):
    """What an image has for itself (its background, its lower half) is known apart from what its label is about."""

    @abstractmethod
    def exchanged_test(self, source: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The test images, uint8 [N, C, H, W], image i with the private part of test image `source[i]`."""


def sources(n: int) -> NDArray[np.int64]:
    """Whose private part each of n test images gets: that of the seventh after it, one of another kind in the toys."""
    return (np.arange(n) + 7) % n
