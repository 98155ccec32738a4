"""A tiny dataset in the layout of the real ones, and data roots that hold nothing of this machine."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
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
