"""Datasets whose images are a known function of known factors, for measures of disentanglement."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class FactoredDataset(Dataset):
    """Factor k takes the values 0 … `factor_sizes[k]` − 1; `factor_names` has the same order."""

    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]

    @abstractmethod
    def factors(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The factors of the development and of the test images, int64 [N, K], in the images' order."""

    @abstractmethod
    def render(self, factors: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of any `factors` int64 [N, K], uint8 [N, C, H, W]; for measures that draw their own."""
