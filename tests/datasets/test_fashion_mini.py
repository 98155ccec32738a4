from __future__ import annotations

import gzip
import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets import cut_fashion_mini, open_dataset
from vaetune.datasets.base import digest
from vaetune.datasets.fashion_mini import FOLDER

COMMITTED = sorted(FOLDER.glob("*.gz"))
DATA = os.environ.get("VAETUNE_DATA", "")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_files_are_those_of_the_provenance() -> None:
    rows = re.findall(
        r"^\| (\S+\.gz) \| ([\d,]+) \| (\w{64}) \| (\w{64}) \|$", (FOLDER / "PROVENANCE.md").read_text(), re.MULTILINE
    )
    found = [
        (path.name, f"{len(packed):,}", sha256(packed), sha256(gzip.decompress(packed)))
        for path in COMMITTED
        for packed in [path.read_bytes()]
    ]
    assert len(found) == 5
    assert rows == found


def test_each_file_stays_below_three_megabytes() -> None:
    assert max(path.stat().st_size for path in COMMITTED) < 3_000_000


def test_the_archives_carry_neither_time_nor_name() -> None:
    for path in COMMITTED:
        assert path.read_bytes()[3:8] == bytes(5), path.name  # FLG and MTIME of RFC 1952


def test_development_is_balanced_and_the_test_split_whole() -> None:
    dataset = open_dataset("fashion_mini")
    development, test = dataset.development(), dataset.sealed_test()
    assert development.images.shape == (5000, *dataset.shape)
    assert test.images.shape == (10_000, *dataset.shape)
    assert np.bincount(development.labels).tolist() == [500] * dataset.classes
    assert np.bincount(test.labels).tolist() == [1000] * dataset.classes
    assert digest(development) == "ee471171d5efecc0235ca47bdb73603fb4a120eee69189c8bb2a4a76cb22747a"
    assert digest(test) == "3581bf52f521803120533f28e81ae934decd1771980630083c739dc6da7d3bc6"


@pytest.mark.skipif(not Path(DATA, "FashionMNIST/raw").is_dir(), reason="$VAETUNE_DATA holds no FashionMNIST/raw")
def test_cutting_again_gives_the_same_set(tmp_path: Path) -> None:
    first = cut_fashion_mini.cut(Path(DATA), tmp_path / "a")
    assert first == cut_fashion_mini.cut(Path(DATA), tmp_path / "b")
    assert [name for name, *_ in first] == [path.name for path in COMMITTED]
    for path in COMMITTED:  # unpacked: another zlib may pack the same bytes otherwise
        assert gzip.decompress((tmp_path / "a" / path.name).read_bytes()) == gzip.decompress(path.read_bytes())
    full = open_dataset("fashion_mnist", Path(DATA))
    assert digest(full.sealed_test()) == digest(open_dataset("fashion_mini").sealed_test())
    published = {image.tobytes() for image in full.development().images}
    assert all(image.tobytes() in published for image in open_dataset("fashion_mini").development().images)
