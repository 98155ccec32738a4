from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest
from vaetune.errors import UserError


def test_it_is_scikit_learns_set_exactly() -> None:
    dataset = open_dataset("digits")
    parts = dataset.development(), dataset.sealed_test()
    images = np.concatenate([part.images for part in parts])
    levels = np.rint(images[:, 0] * (16 / 255)).astype(int)
    labels = np.concatenate([part.labels for part in parts])
    ours = sorted((*image.ravel().tolist(), int(label)) for image, label in zip(levels, labels, strict=True))
    [folder] = importlib.util.find_spec("sklearn").submodule_search_locations
    with gzip.open(Path(folder, "datasets/data/digits.csv.gz"), "rt") as file:
        theirs = sorted(tuple(int(float(value)) for value in row) for row in csv.reader(file))
    assert ours == theirs
    assert images.max() == 255


def test_the_test_split_is_stratified_and_never_moves() -> None:
    dataset = open_dataset("digits")
    development, test = dataset.development(), dataset.sealed_test()
    assert (len(development), len(test)) == (1437, 360)
    assert development.images.shape[1:] == dataset.shape
    counts = np.bincount(test.labels)
    share = (counts + np.bincount(development.labels)) * 360 / 1797
    assert np.abs(counts - share).max() < 1
    assert digest(development) == "f527cf0c70d41eaed3969556e2425cf30343e88040769c2433ff51dc7dc7f6e5"
    assert digest(test) == "f3985c27b720edde9fca9a7ee32d37eea844dc8a5042615df1017c568b238db8"


def elsewhere(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_another_layout_of_scikit_learn_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"digits\.csv\.gz.*install scikit-learn"):
        open_dataset("digits")


def test_no_scikit_learn_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="scikit-learn is not installed"):
        open_dataset("digits")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"1,2,3\n"), gzip.compress(b"a,b\n"), gzip.compress(b"1,2\n1\n"), b"1,2\n"],
    ids=["short", "text", "ragged", "unpacked"],
)
def test_a_damaged_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    elsewhere(monkeypatch, tmp_path)
    path = tmp_path / "datasets/data/digits.csv.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"digits\.csv\.gz: (expected|unreadable)"):
        open_dataset("digits").development()
