from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from vaetune.datasets import svhn
from vaetune.datasets.base import Request
from vaetune.datasets.download import checksum_of
from vaetune.datasets.published import File, Source
from vaetune.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), np.uint8)
LABELS = np.array([10, 1, 9, 10, 2], np.uint8)


def packed(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **more: np.ndarray) -> bytes:
    """A file as published: height, width, channel, image; labels in a column."""
    stream = io.BytesIO()
    savemat(stream, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]} | more, do_compression=True)
    return stream.getvalue()


def test_channels_come_first_and_ten_means_zero() -> None:
    found = svhn.parse(packed(), "file")
    assert np.array_equal(found.images, IMAGES)
    assert found.images.flags.c_contiguous
    assert found.labels.tolist() == [0, 1, 9, 0, 2]


def test_the_files_are_the_splits(empty_roots: Path) -> None:
    (empty_roots / "svhn").mkdir(parents=True)
    files = []
    for published, images in zip(svhn.SOURCE.files, (IMAGES, 255 - IMAGES), strict=True):
        data = packed(images)
        (empty_roots / "svhn" / published.name).write_bytes(data)
        files.append(File(published.name, checksum_of(data, "md5:")))
    source = Source(folders=svhn.SOURCE.folders, files=tuple(files), url="http://nowhere/")
    dataset = svhn.opened(source, Request(), test_size=5)
    assert np.array_equal(dataset.development().images, IMAGES)
    assert np.array_equal(dataset.sealed_test().images, 255 - IMAGES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed(IMAGES[:4]), "with 5 labels"),
        (packed(labels=LABELS - 1), "as many labels 1…10"),
        (packed(IMAGES.astype(float)), "X is float64"),
        (packed(IMAGES[:, :, :16]), r"X is uint8 \(16, 32, 3, 5\)"),
        (packed(X=np.zeros(3)), "with 5 labels"),
        (b"", "no MATLAB file"),
        (b"no MATLAB file at all" * 20, "no MATLAB file"),
    ],
)
def test_other_content_is_named(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=f"^file: .*{words}"):
        svhn.parse(data, "file")


@given(st.integers(0, len(packed()) - 1))
def test_any_truncation_is_an_error(length: int) -> None:
    with pytest.raises(UserError, match=r"^file: "):
        svhn.parse(packed()[:length], "file")
