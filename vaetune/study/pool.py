"""One split of a dataset as workers are handed it: its arrays in the object store, or a memory map by its file's name.

Prepared images may be larger than memory, and lie on the disk already: on the driver's own machine workers map the
same file and share its pages. Other machines of a cluster may not have it, so there the images travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import batches, splits
from vaetune.datasets.base import Images
from vaetune.datasets.batches import Pixels
from vaetune.datasets.folds import folded
from vaetune.errors import UserError
from vaetune.training.seeds import Member

Index = splits.Index


@dataclass(frozen=True)
class Mapped:
    """Images [N, C, H, W] in a file, from its byte `offset` on."""

    path: str
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[np.uint8]:
        """The memory map; raises `UserError` where the file is gone."""
        try:
            return np.memmap(self.path, np.uint8, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: cannot open the prepared images ({error}); prepare them again") from error


@dataclass(frozen=True)
class Pool:
    """Images uint8 [N, C, H, W], or where they are mapped; labels int64 [N]; groups that no split parts, int64 [N]."""

    images: NDArray[np.uint8] | Mapped
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, split: Images, here: bool) -> Pool:
        """A split for workers that all run `here`, on this machine, or anywhere."""
        images = split.images
        if here and isinstance(images, np.memmap) and images.filename and images.flags.c_contiguous:
            mapped = Mapped(str(Path(images.filename).resolve()), images.offset, images.shape)
            return cls(mapped, split.labels, split.groups)
        return cls(np.ascontiguousarray(images), split.labels, split.groups)

    def pixels(self, device: str) -> Pixels:
        """The images, on the device where they fit."""
        images = self.images.open() if isinstance(self.images, Mapped) else self.images
        return batches.pixels(images, device)

    def folded(self, member: Member, refit: bool) -> tuple[Index, Index]:
        """Indices of a member's training and validation images; with `refit` it trains on the latter too."""
        dataset = member.configuration.dataset
        held_out = 0 if refit else dataset.n_validation
        return folded(self.labels, held_out, dataset.n_train, member.seeds.split, member.fold, self.groups)

    def targets(self, member: Member, train: Index, classes: int) -> NDArray[np.int64]:
        """The labels that a member is trained on, some of them replaced where its dataset is to have label noise."""
        noise = member.configuration.dataset.label_noise
        return splits.noisy_labels(self.labels[train], noise, classes, member.seeds.labels)
