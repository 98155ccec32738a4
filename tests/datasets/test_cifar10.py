from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaetune.datasets import cifar10
from vaetune.datasets.base import Request
from vaetune.datasets.download import checksum_of
from vaetune.datasets.published import File, Source
from vaetune.errors import UserError


def text(data: bytes) -> bytes:
    """A string as Python 2 pickles it."""
    return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data


def batch(rows: np.ndarray, labels: list[int], kind: bytes = b"u1", module: bytes = b"numpy.core.multiarray") -> bytes:
    """A batch as Python 2 and its NumPy wrote them: protocol 2, byte strings, arrays by `_reconstruct`."""
    number = lambda n: b"J" + struct.pack("<i", n)  # noqa: E731
    array = b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(kind) + number(0) + number(1) + b"\x87R("
    dtype += number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    shape = b"".join(map(number, rows.shape)) + b"\x86"
    array += b"(" + number(1) + shape + dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    items = text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + listed + text(b"data") + array
    return b"\x80\x02}(" + items + b"u."


ROWS = np.random.default_rng(0).integers(0, 256, (6, 3072), np.uint8)
LABELS = [0, 9, 3, 3, 7, 1]


@pytest.fixture
def source(empty_roots: Path) -> Source:
    """Six batches of six images in the published layout, each brighter than the one before."""
    folder = empty_roots / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    files = []
    for i, published in enumerate(cifar10.SOURCE.files):
        data = batch(np.full_like(ROWS, i), LABELS)
        (folder / published.name).write_bytes(data)
        files.append(File(published.name, checksum_of(data, "md5:")))
    return Source(folders=cifar10.SOURCE.folders, files=tuple(files), url="http://nowhere/")


def test_the_last_batch_is_the_test_split(source: Source) -> None:
    dataset = cifar10.opened(source, Request(), test_size=6)
    development, test = dataset.development(), dataset.sealed_test()
    assert development.images[:, 0, 0, 0].tolist() == np.repeat(range(5), 6).tolist()
    assert development.labels.tolist() == LABELS * 5
    assert test.images.shape == (6, *dataset.shape)
    assert test.images.min() == test.images.max() == 5


def test_rows_are_red_then_green_then_blue() -> None:
    images, labels = cifar10.parse(batch(ROWS, LABELS), "file")
    assert labels.tolist() == LABELS
    assert np.array_equal(images[2, 1, 5, 7], ROWS[2, 1024 + 5 * 32 + 7])
    assert not images.flags.writeable


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy.core, as the published files call it
def test_a_plain_unpickler_reads_the_same() -> None:
    theirs = pickle.loads(batch(ROWS, LABELS), encoding="bytes")
    images, labels = cifar10.parse(batch(ROWS, LABELS), "file")
    assert np.array_equal(theirs[b"data"].reshape(images.shape), images)
    assert theirs[b"labels"] == labels.tolist()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_wants_to_act_is_refused(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({b"data": Evil(tmp_path / "touched"), b"labels": []}, protocol)
    with pytest.raises(UserError, match=r"file: it names .*; refused"):
        cifar10.parse(data, "file")
    assert not (tmp_path / "touched").exists()


def test_changed_bytes_never_reach_the_parser(source: Source, empty_roots: Path) -> None:
    path = empty_roots / "cifar-10-batches-py/data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3: not the published file"):
        cifar10.opened(source, Request(), test_size=6).development()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (batch(ROWS, LABELS[:-1]), r"6 images with labels of shape \(5,\)"),
        (batch(ROWS, [*LABELS[:-1], 10]), "expected one of 0…9"),
        (batch(ROWS, LABELS, kind=b"f8"), "an array of b'f8'"),
        (batch(ROWS[:, :-1], LABELS), "no batch of CIFAR-10"),
        (batch(ROWS, LABELS, module=b"os"), "it names os._reconstruct"),
        (pickle.dumps([1, 2]), "no batch of CIFAR-10"),
        (b"", "no batch of CIFAR-10"),
    ],
)
def test_other_content_is_named(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=f"^file: .*{words}"):
        cifar10.parse(data, "file")


@given(st.integers(0, len(batch(ROWS, LABELS)) - 1))
def test_any_truncation_is_an_error(length: int) -> None:
    with pytest.raises(UserError, match=r"^file: "):
        cifar10.parse(batch(ROWS, LABELS)[:length], "file")


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 4), st.just(3072)), fill=st.integers(0, 255)), st.data())
def test_round_trip(rows: np.ndarray, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows)))
    images, found = cifar10.parse(batch(rows, labels), "file")
    assert np.array_equal(images.reshape(len(rows), 3072), rows)
    assert found.tolist() == labels
