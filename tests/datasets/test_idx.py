from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaetune.datasets import idx
from vaetune.errors import UserError

arrays = hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, min_side=0, max_side=5))


@given(arrays)
def test_round_trip(array: np.ndarray) -> None:
    parsed = idx.parse(idx.encode(array), "file")
    assert parsed.dtype == np.uint8
    assert parsed.shape == array.shape
    assert np.array_equal(parsed, array)
    assert not parsed.flags.writeable


@given(arrays, st.data())
def test_any_truncation_is_an_error(array: np.ndarray, data: st.DataObject) -> None:
    whole = idx.encode(array)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(UserError, match=r"^file: "):
        idx.parse(whole[:length], "file")


@given(arrays, st.binary(min_size=1, max_size=9))
def test_trailing_bytes_are_an_error(array: np.ndarray, more: bytes) -> None:
    with pytest.raises(UserError, match=r"^file: trailing bytes"):
        idx.parse(idx.encode(array) + more, "file")


@given(arrays, st.integers(0, 2), st.integers(1, 255))
def test_wrong_magic_is_an_error(array: np.ndarray, position: int, change: int) -> None:
    data = bytearray(idx.encode(array))
    data[position] ^= change
    with pytest.raises(UserError, match=r"^file: (not an IDX file|IDX type)"):
        idx.parse(bytes(data), "file")


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_an_array_or_a_user_error(data: bytes) -> None:
    try:
        array = idx.parse(data, "file")
    except UserError:
        return
    assert idx.encode(array) == data


def test_sizes_beyond_memory_are_an_error_not_an_allocation() -> None:
    with pytest.raises(UserError, match="truncated"):
        idx.parse(b"\0\0\x08\x04" + b"\xff" * 16, "file")


def test_the_bytes_are_those_of_the_published_format() -> None:
    data = bytes.fromhex("00000803 00000001 00000002 00000003 010203040506")
    assert idx.parse(data, "file").tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_reads_gzipped_and_plain(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "plain").write_bytes(idx.encode(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx.encode(array)))
    assert np.array_equal(idx.read(tmp_path / "plain"), array)
    assert np.array_equal(idx.read(tmp_path / "packed.gz"), array)


@pytest.mark.parametrize("damage", [lambda z: z[:-9], lambda z: b"<html>", lambda z: z[:12] + b"\xff\xff" + z[14:]])
def test_a_damaged_archive_is_named(tmp_path: Path, damage) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(idx.encode(np.arange(250, dtype=np.uint8)))))
    with pytest.raises(UserError, match=r"images\.gz: damaged gzip archive"):
        idx.read(path)
