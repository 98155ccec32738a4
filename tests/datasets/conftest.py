"""A tiny dataset in the layout of the real ones, and data roots that hold nothing of this machine."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

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


class Server:
    """A publisher on the loopback interface that remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        requests = self.requests = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_request(self, code: object = "-", size: object = "-") -> None:
                requests.append(self.path)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(mirror_folder: Path) -> Iterator[Server]:
    server = Server(mirror_folder)
    yield server
    server.close()


@pytest.fixture(scope="session")
def packed() -> Callable[..., bytes]:
    """Makes metadata of IMDB-WIKI, as `packed("wiki", gender=[…])`: three rows unless columns are given."""
    return _packed


def _cells(texts: list[str]) -> np.ndarray:
    """A cell array as MATLAB has it: a row of strings, empty ones as empty arrays."""
    out = np.empty((1, len(texts)), object)
    for i, text in enumerate(texts):
        out[0, i] = text or np.zeros((0, 0))
    return out


def _packed(site: str = "wiki", **columns: object) -> bytes:
    """A file as published. Texts become cells, numbers rows."""
    table = {
        "dob": [date(1980, 6, 30).toordinal() + 366, date(1980, 7, 1).toordinal() + 366, np.nan],
        "photo_taken": [2010, 2010, 2010],
        "full_path": ["01/1_a.jpg", "02/2_b.jpg", "02/3_c.jpg"],
        "gender": [1.0, 0.0, np.nan],
        "name": ["Ada", "Bea", ""],
        "face_location": ["", "", ""],
        "face_score": [3.5, -np.inf, 2.0],
        "second_face_score": [np.nan, np.nan, 1.5],
    } | columns
    struct = {
        name: _cells(values) if any(isinstance(v, str) for v in values) else np.array(values)[None]
        for name, values in table.items()
    }
    stream = io.BytesIO()
    savemat(stream, {site: struct})
    return stream.getvalue()
