"""Datasets published as four IDX files in torchvision's layout: MNIST, Fashion-MNIST and their like."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from vaetune.datasets import idx, published
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.download import fetch
from vaetune.errors import UserError


@dataclass(frozen=True)
class IdxFile:
    """One published file: its name without .gz, its shape, and the SHA-256 of its unpacked bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a dataset comes from.

    `files` are training images and labels, test images and labels; `folders` lie below a data root, the first being
    where a download goes; `ways` are shell commands that get the data otherwise, with {root} for the data root.
    """

    folders: tuple[str, ...]
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    ways: tuple[str, ...]

    @property
    def test_size(self) -> int:
        """The number of test images."""
        return self.files[2].shape[0]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class IdxDataset(Dataset):
    """Four IDX files in `folder`, each checked to be the published one when it is read."""

    source: Source
    folder: Path

    def development(self) -> Images:
        """The published training split."""
        return self._images(*self.source.files[:2])

    def sealed_test(self) -> Images:
        """The published test split."""
        return self._images(*self.source.files[2:])

    def _images(self, image_file: IdxFile, label_file: IdxFile) -> Images:
        images, labels = _checked(self.folder, image_file), _checked(self.folder, label_file)
        return Images(images[:, np.newaxis], labels.astype(np.int64))


def locate(name: str, source: Source, request: Request) -> Path:
    """The folder with all four files; fetches them if asked to and raises `UserError` if they are nowhere."""
    return published.locate(
        name,
        request,
        folders=source.folders,
        expected=[f"{file.name}[.gz]" for file in source.files],
        absent=lambda folder: [file.name for file in source.files if _path(folder, file) is None],
        fetch=lambda folder: _fetch(folder, source),
        ways=source.ways,
    )


def _fetch(folder: Path, source: Source) -> None:
    for file in source.files:
        if _path(folder, file) is None:
            urls = [f"{mirror}{file.name}.gz" for mirror in source.mirrors]
            fetch(urls, folder / file.name, f"sha256:{file.sha256}", gzipped=True)


def _path(folder: Path, file: IdxFile) -> Path | None:
    candidates = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _checked(folder: Path, file: IdxFile) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    path = _path(folder, file)
    if path is None:
        raise UserError(f"{folder / file.name} is gone; it was there when the dataset was opened")
    data = idx.decoded(path)
    array = idx.parse(data, str(path))
    if array.shape != file.shape:
        raise UserError(f"{path}: shape {array.shape}, expected {file.shape}; is it another dataset's file?")
    if hashlib.sha256(data).hexdigest() != file.sha256:  # other sets have the same shapes: never one for another
        raise UserError(
            f"{path}: not the published file (SHA-256 of the unpacked bytes differs); delete it and fetch again"
        )
    return array
