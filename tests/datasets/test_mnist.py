"""On the full published sets, where $VAETUNE_DATA holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest

DATA = os.environ.get("VAETUNE_DATA", "")


@pytest.mark.parametrize(
    ("name", "folder", "development_digest", "test_digest"),
    [
        (
            "mnist",
            "MNIST/raw",
            "71d3be42f93ad20da73bb4a9744d0bebdaa6832be56dc010e21940e72c4c8b1e",
            "4718853ea946af656684509414983beff2e65cf414265c27966161014c003b8b",
        ),
        (
            "fashion_mnist",
            "FashionMNIST/raw",
            "a8007d7be041707b663947cf4c2d8a73d1704ccde85043273b866d5181bde6c2",
            "3581bf52f521803120533f28e81ae934decd1771980630083c739dc6da7d3bc6",
        ),
    ],
)
def test_the_full_set(name: str, folder: str, development_digest: str, test_digest: str) -> None:
    if not Path(DATA, folder).is_dir():
        pytest.skip(f"$VAETUNE_DATA holds no {folder}")
    dataset = open_dataset(name, Path(DATA))
    development, test = dataset.development(), dataset.sealed_test()
    assert development.images.shape == (60_000, *dataset.shape)
    assert test.images.shape == (dataset.test_size, *dataset.shape)
    assert test.images.shape == (10_000, *dataset.shape)
    assert np.array_equal(np.unique(development.labels), np.arange(dataset.classes))
    assert (digest(development), digest(test)) == (development_digest, test_digest)


def test_one_familys_files_under_the_others_name_are_refused(tmp_path: Path) -> None:
    if not Path(DATA, "FashionMNIST/raw").is_dir():
        pytest.skip("$VAETUNE_DATA holds no FashionMNIST/raw")
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST/raw").symlink_to(Path(DATA, "FashionMNIST/raw").resolve())
    with pytest.raises(ValueError, match="not the published file"):
        open_dataset("mnist", tmp_path).sealed_test()
