"""A tiny dataset in the layout of the real ones, and data roots that hold nothing of this machine."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets import idx, roots
from vaetune.datasets.idx_family import IdxFile, Source


@pytest.fixture
def empty_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh root in $VAETUNE_DATA; home and system folders are empty."""
    root = tmp_path / "data"
    monkeypatch.setenv("VAETUNE_DATA", str(root))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(roots, "SYSTEM", tmp_path / "system")
    return root


@pytest.fixture
def files() -> dict[str, bytes]:
    """Six training and four test images of 2x3 pixels in three classes, as IDX bytes by file name."""
    arrays = {
        "train-images": np.arange(36, dtype=np.uint8).reshape(6, 2, 3),
        "train-labels": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "t10k-images": np.arange(100, 124, dtype=np.uint8).reshape(4, 2, 3),
        "t10k-labels": np.array([2, 1, 0, 0], np.uint8),
    }
    return {name: idx.encode(array) for name, array in arrays.items()}


@pytest.fixture
def source(files: dict[str, bytes]) -> Source:
    """Where the tiny dataset comes from: no mirror, one command."""
    published = [IdxFile(n, idx.parse(data, n).shape, hashlib.sha256(data).hexdigest()) for n, data in files.items()]
    train_images, train_labels, test_images, test_labels = published
    return Source(
        folders=("Tiny/raw", "tiny"),
        files=(train_images, train_labels, test_images, test_labels),
        mirrors=(),
        ways=("fetch-tiny --into {root}",),
    )


@pytest.fixture
def mirror_folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A folder with the gzipped files, as a publisher serves them."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    return folder
