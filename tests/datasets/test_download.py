from __future__ import annotations

import dataclasses
import gzip
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vaetune.datasets.base import Request
from vaetune.datasets.idx_family import Source, locate
from vaetune.errors import UserError

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture
def published(source: Source, server: Server) -> Source:
    return dataclasses.replace(source, mirrors=(server.url,))


def test_nothing_is_fetched_unasked(empty_roots: Path, published: Source, server: Server) -> None:
    with pytest.raises(UserError, match="was not found"):
        locate("tiny", published, Request())
    assert server.requests == []
    assert not empty_roots.exists()


def test_fetches_into_the_first_folder_once(
    empty_roots: Path, published: Source, server: Server, files: dict[str, bytes]
) -> None:
    folder = locate("tiny", published, Request(download=True))
    assert folder == empty_roots / "Tiny/raw"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files | {".lock": b""}
    assert sorted(server.requests) == sorted(f"/{name}.gz" for name in files)
    locate("tiny", published, Request(download=True))
    assert len(server.requests) == 4


def test_the_explicit_root_is_preferred(empty_roots: Path, tmp_path: Path, published: Source) -> None:
    assert locate("tiny", published, Request(root=tmp_path / "mine", download=True)) == tmp_path / "mine/Tiny/raw"
    assert not empty_roots.exists()


def test_only_what_is_missing_is_fetched(
    empty_roots: Path, published: Source, server: Server, mirror_folder: Path
) -> None:
    (empty_roots / "Tiny/raw").mkdir(parents=True)
    name = "train-images.gz"
    (empty_roots / "Tiny/raw" / name).write_bytes((mirror_folder / name).read_bytes())
    locate("tiny", published, Request(download=True))
    assert f"/{name}" not in server.requests
    assert len(server.requests) == 3


def test_the_next_mirror_is_tried(empty_roots: Path, published: Source, server: Server) -> None:
    both = dataclasses.replace(published, mirrors=(f"{server.url}gone/", server.url))
    assert len(list(locate("tiny", both, Request(download=True)).glob("t*"))) == 4


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda z: gzip.compress(b"something else"), "wrong checksum sha256:[0-9a-f]{64} .* refused"),
        (lambda z: z[:-12], "end-of-stream"),
        (lambda z: b"<html>moved</html>", "Not a gzipped file"),
        (lambda z: z[:20] + bytes(10) + z[30:], "Error|CRC|invalid"),
        (None, "404"),
    ],
)
def test_bad_answers_are_refused_and_removed(
    empty_roots: Path, published: Source, server: Server, mirror_folder: Path, damage, words: str
) -> None:
    path = mirror_folder / "train-labels.gz"
    path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UserError, match=rf"cannot fetch train-labels:\n  {server.url}train-labels\.gz: .*({words})"
    ) as caught:
        locate("tiny", published, Request(download=True))
    assert str(caught.value).endswith(f"Other ways to get it:\n  fetch-tiny --into {empty_roots}")
    left = sorted(path.name for path in (empty_roots / "Tiny/raw").iterdir())
    assert left == [".lock", "train-images"]  # what was fetched before stays, nothing of the bad file does


def test_what_a_killed_download_left_is_overwritten(
    empty_roots: Path, published: Source, files: dict[str, bytes]
) -> None:
    folder = empty_roots / "Tiny/raw"
    folder.mkdir(parents=True)
    (folder / ".train-images.part").write_bytes(b"x" * 999)
    locate("tiny", published, Request(download=True))
    assert (folder / "train-images").read_bytes() == files["train-images"]
    assert not (folder / ".train-images.part").exists()


def test_a_root_that_cannot_be_written_is_named(empty_roots: Path, published: Source) -> None:
    empty_roots.write_text("a file, where a folder should be")
    with pytest.raises(UserError, match=r"cannot write to .*Tiny/raw.*--data-root"):
        locate("tiny", published, Request(download=True))


PROCESS = """
import sys
from pathlib import Path
from vaetune.datasets.base import Request
from vaetune.datasets.idx_family import IdxFile, Source, locate
source = {source!r}
print("ready", flush=True)
sys.stdin.readline()
print(locate("tiny", source, Request(root=Path({root!r}), download=True)))
"""


def test_two_processes_at_once_fetch_each_file_once(
    tmp_path: Path, published: Source, server: Server, files: dict[str, bytes]
) -> None:
    script = PROCESS.format(source=published, root=str(tmp_path / "data"))
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in both]
    folder = tmp_path / "data/Tiny/raw"
    assert answers == [str(folder)] * 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files | {".lock": b""}
    assert sorted(server.requests) == sorted(f"/{name}.gz" for name in files)
