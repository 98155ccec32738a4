from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets.base import Request
from vaetune.datasets.idx_family import IdxDataset, Source, locate
from vaetune.errors import UserError


def tiny(source: Source, request: Request = Request()) -> IdxDataset:  # noqa: B008 (frozen)
    return IdxDataset(
        name="tiny",
        summary="",
        licence="",
        class_names=tuple("abc"),
        shape=(1, 2, 3),
        test_size=source.test_size,
        source=source,
        folder=locate("tiny", source, request),
    )


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_the_splits_are_the_files(empty_roots: Path, source: Source, files: dict[str, bytes]) -> None:
    put(empty_roots / "Tiny/raw", files)
    dataset = tiny(source)
    assert dataset.test_size == 4
    development, test = dataset.development(), dataset.sealed_test()
    assert development.images.shape == (6, 1, 2, 3)
    assert development.images.ravel().tolist() == list(range(36))
    assert development.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert development.labels.dtype == np.int64
    assert test.images.ravel().tolist() == list(range(100, 124))
    assert test.labels.tolist() == [2, 1, 0, 0]


def test_gzipped_files_give_the_same(empty_roots: Path, source: Source, mirror_folder: Path) -> None:
    mirror_folder.rename(put(empty_roots, {}) / "tiny")  # the second folder of the source
    assert tiny(source).development().images.ravel().tolist() == list(range(36))


def test_roots_are_searched_in_order(
    empty_roots: Path, tmp_path: Path, source: Source, files: dict[str, bytes]
) -> None:
    order = [tmp_path / "explicit", empty_roots, tmp_path / "home/.cache/vaetune", tmp_path / "system"]
    for root in reversed(order):
        put(root / "Tiny/raw", files)
        assert locate("tiny", source, Request(root=order[0])) == root / "Tiny/raw"


def test_an_incomplete_folder_is_passed_over(
    empty_roots: Path, tmp_path: Path, source: Source, files: dict[str, bytes]
) -> None:
    whole = put(tmp_path / "home/.cache/vaetune/Tiny/raw", files)
    put(empty_roots / "Tiny/raw", {name: data for name, data in files.items() if name != "t10k-labels"})
    assert locate("tiny", source, Request()) == whole


def test_missing_data_lists_places_files_and_ways(
    empty_roots: Path, tmp_path: Path, source: Source, files: dict[str, bytes]
) -> None:
    put(empty_roots / "Tiny/raw", {name: data for name, data in files.items() if name != "t10k-labels"})
    with pytest.raises(UserError) as caught:
        locate("tiny", source, Request(root=tmp_path / "my data"))
    message = str(caught.value)
    places = [tmp_path / "my data", empty_roots, tmp_path / "home/.cache/vaetune", tmp_path / "system"]
    positions = [message.index(str(place / "Tiny/raw")) for place in places]
    assert positions == sorted(positions)
    assert f"{empty_roots / 'Tiny/raw'}  (without t10k-labels)" in message
    assert "train-images[.gz], train-labels[.gz], t10k-images[.gz], t10k-labels[.gz]" in message
    assert f"fetch tiny --data-root '{tmp_path / 'my data'}'  (from the publisher, as --download does)" in message
    assert f"fetch-tiny --into '{tmp_path / 'my data'}'" in message  # quoted for the shell


def other_shape(data: bytes) -> bytes:
    return data[:8] + data[12:16] + data[8:12] + data[16:]


def other_pixels(data: bytes) -> bytes:
    return data[:-1] + b"\xff"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"\0", "trailing bytes"),
        (lambda data: b"", "not an IDX file"),
        (lambda data: b"<!DOCTYPE html>", "not an IDX file"),
        (other_shape, r"shape \(6, 3, 2\), expected \(6, 2, 3\)"),
        (other_pixels, "not the published file"),
    ],
)
def test_a_damaged_file_is_named(
    empty_roots: Path, source: Source, files: dict[str, bytes], damage, words: str
) -> None:
    put(empty_roots / "Tiny/raw", files | {"train-images": damage(files["train-images"])})
    dataset = tiny(source)
    with pytest.raises(UserError, match=rf"Tiny/raw/train-images: {words}"):
        dataset.development()
    assert len(dataset.sealed_test()) == 4


def test_a_file_gone_after_opening_is_named(empty_roots: Path, source: Source, files: dict[str, bytes]) -> None:
    folder = put(empty_roots / "Tiny/raw", files)
    dataset = tiny(source)
    (folder / "train-labels").unlink()
    with pytest.raises(UserError, match="train-labels is gone"):
        dataset.development()


def test_a_damaged_archive_is_named(empty_roots: Path, source: Source, files: dict[str, bytes]) -> None:
    packed = {f"{name}.gz": gzip.compress(data) for name, data in files.items()}
    put(empty_roots / "Tiny/raw", packed | {"train-images.gz": packed["train-images.gz"][:-3]})
    with pytest.raises(UserError, match=r"train-images\.gz: damaged gzip archive"):
        tiny(source).development()
