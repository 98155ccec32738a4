from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaetune.datasets import usps
from vaetune.datasets.base import Request
from vaetune.datasets.download import checksum_of
from vaetune.datasets.published import File, Source
from vaetune.errors import UserError

VALUES = np.round(np.random.default_rng(0).uniform(-1, 1, (3, 256)), 3)


def line(label: int, values: np.ndarray) -> str:
    """As published: every value, trailing space and all."""
    return f"{label} " + " ".join(f"{i}:{value:g}" for i, value in enumerate(values, 1)) + " "


TEXT = "\n".join(line(label, values) for label, values in zip((10, 1, 5), VALUES, strict=True)) + "\n"


def test_values_become_bytes_and_one_means_zero() -> None:
    found = usps.parse(TEXT, "file")
    assert found.labels.tolist() == [9, 0, 4]
    assert np.array_equal(found.images.reshape(3, 256), np.rint((VALUES + 1) * 127.5))
    assert usps.parse("1 1:-1 2:1 256:0.5", "file").images.ravel()[[0, 1, 2, 255]].tolist() == [0, 255, 128, 191]


@pytest.mark.parametrize("changed", [TEXT.replace("\n", "\r\n"), TEXT.rstrip("\n")])
def test_other_line_ends_change_nothing(changed: str) -> None:
    found, expected = usps.parse(changed, "file"), usps.parse(TEXT, "file")
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.labels, expected.labels)


def test_the_files_are_the_splits(empty_roots: Path) -> None:
    empty_roots.mkdir()
    files = []
    for published, text in zip(usps.SOURCE.files, (TEXT, TEXT[: TEXT.index("\n")]), strict=True):
        data = bz2.compress(text.encode())
        (empty_roots / published.name).write_bytes(data)
        files.append(File(published.name, checksum_of(data, "md5:")))
    source = Source(folders=usps.SOURCE.folders, files=tuple(files), url="http://nowhere/")
    dataset = usps.opened(source, Request(), test_size=1)
    assert (len(dataset.development()), len(dataset.sealed_test())) == (3, 1)


def test_a_file_that_is_not_packed_is_named(empty_roots: Path) -> None:
    empty_roots.mkdir()
    for published in usps.SOURCE.files:
        (empty_roots / published.name).write_bytes(b"text")
    files = tuple(File(f.name, checksum_of(b"text", "md5:")) for f in usps.SOURCE.files)
    source = Source(folders=("",), files=files, url="http://nowhere/")
    with pytest.raises(UserError, match=r"usps\.bz2: no packed text"):
        usps.opened(source, Request(), test_size=1).development()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 1:0\n11 1:0\n", "line 2: label 11, expected 1…10"),
        ("1 1:0\n\n1 1:0\n", "line 2: expected `label index:value …`"),
        ("1 1:0 2\n", "line 1: expected `label"),
        ("x 1:0\n", "line 1: expected `label"),
        ("1 257:0\n", "line 1: expected rising places 1…256"),
        ("1 0:0\n", "line 1: expected rising places"),
        ("1 2:0 1:0\n", "line 1: expected rising places"),
        ("1 1.5:0\n", "line 1: expected rising places"),
        ("1 1:1.01\n", "values in "),
        ("1 1:nan\n", "values in "),
        ("1 nan:0\n", "rising places"),
    ],
)
def test_a_wrong_line_is_named(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^file, .*{words}"):
        usps.parse(text, "file")


@given(st.text(alphabet="0123456789:. -e\n\rnaif", max_size=60))
def test_any_text_is_images_or_a_user_error(text: str) -> None:
    try:
        found = usps.parse(text, "file")
    except UserError:
        return
    assert found.images.shape == (len(found.labels), 1, 16, 16)


@given(st.lists(st.tuples(st.integers(1, 10), st.dictionaries(st.integers(1, 256), st.floats(-1, 1))), max_size=4))
def test_sparse_lines_are_read(rows: list[tuple[int, dict[int, float]]]) -> None:
    text = "".join(
        f"{label} {' '.join(f'{i}:{value}' for i, value in sorted(values.items()))}\n" for label, values in rows
    )
    found = usps.parse(text, "file")
    assert found.labels.tolist() == [label - 1 for label, _ in rows]
    for image, (_, values) in zip(found.images.reshape(-1, 256), rows, strict=True):
        assert all(image[i - 1] == round((values.get(i, 0.0) + 1) * 127.5) for i in range(1, 257))
