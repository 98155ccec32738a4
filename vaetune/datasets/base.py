"""What a dataset is: images that development may see, and a test split that stays sealed until the end."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """One split: `images` uint8 [N, C, H, W], `labels` int64 [N]; either may be read-only or a memory map.

    `groups` int64 [N] says which images must not be parted, as those of one person: see `vaetune.datasets.splits`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        assert self.images.dtype == np.uint8, self.images.dtype
        assert self.labels.dtype == np.int64, self.labels.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.shape == self.images.shape[:1], (self.images.shape, self.labels.shape)
        assert self.groups is None or (self.groups.dtype == np.int64 and self.groups.shape == self.labels.shape)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(ABC):
    """A family of images. `shape` is (channels, height, width); a label is an index into `class_names`.

    `test_size` is the number of test images, known without opening them (files that turn out bad included).
    """

    name: str
    summary: str
    licence: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    test_size: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @abstractmethod
    def development(self) -> Images:
        """All images that search, training and validation may see; raises `UserError` if the data is damaged."""

    @abstractmethod
    def sealed_test(self) -> Images:
        """The test split. Only the phase EVALUATE opens it, once; raises `UserError` if the data is damaged."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a family's `dataset(request)` gets: the name's part after ":", where to look first, whether to fetch."""

    argument: str = ""
    root: Path | None = None
    download: bool = False


def digest(images: Images) -> str:
    """The SHA-256, in hex, of the shape and the bytes of the images and labels: equal data, equal text."""
    sha = hashlib.sha256(repr(tuple(images.images.shape)).encode())
    for array in (images.images, images.labels.astype("<i8", copy=False)):
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
