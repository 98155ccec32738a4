from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vaetune.datasets.base import Request
from vaetune.datasets.published import File, Source, locate_published
from vaetune.errors import UserError

if TYPE_CHECKING:
    from conftest import Server

CONTENT = {"one": b"first", "two": b"second"}


def md5(data: bytes) -> str:
    return "md5:" + hashlib.md5(data).hexdigest()


def source(url: str, archive: File | None = None) -> Source:
    files = tuple(File(name, md5(data)) for name, data in CONTENT.items())
    return Source(folders=("Pair", ""), files=files, url=url, archive=archive)


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_single_files_are_fetched_and_checked(empty_roots: Path, server: Server, mirror_folder: Path) -> None:
    for name, data in CONTENT.items():
        (mirror_folder / name).write_bytes(data)
    published = source(server.url)
    folder = locate_published("pair", published, Request(download=True))
    assert folder == empty_roots / "Pair"
    assert [file.read(folder) for file in published.files] == list(CONTENT.values())


def test_a_wrong_file_is_refused(empty_roots: Path, server: Server, mirror_folder: Path) -> None:
    (mirror_folder / "one").write_bytes(b"other")
    with pytest.raises(
        UserError, match=r"(?s)one: wrong checksum md5:\w+ of the file, .*Other ways.*by hand from http"
    ):
        locate_published("pair", source(server.url), Request(download=True))
    assert [path.name for path in (empty_roots / "Pair").iterdir()] == [".lock"]


def test_an_archive_leaves_its_members_alone(empty_roots: Path, server: Server, mirror_folder: Path) -> None:
    archive = packed({f"Pair/{name}": data for name, data in CONTENT.items()} | {"../escaped": b"x", "Pair/more": b"x"})
    (mirror_folder / "pair.tar.gz").write_bytes(archive)
    published = source(server.url, File("pair.tar.gz", md5(archive)))
    folder = locate_published("pair", published, Request(download=True))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "one", "two"]
    assert {file.name: file.read(folder) for file in published.files} == CONTENT


@pytest.mark.parametrize("content", [packed({"Pair/one": b"first"}), b"no archive"])
def test_an_archive_without_the_files_is_named(
    empty_roots: Path, server: Server, mirror_folder: Path, content: bytes
) -> None:
    (mirror_folder / "pair.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"pair\.tar\.gz: cannot unpack it"):
        locate_published("pair", source(server.url, File("pair.tar.gz", md5(content))), Request(download=True))
    assert not list((empty_roots / "Pair").glob("*.gz"))


def test_the_root_itself_will_do(empty_roots: Path) -> None:
    empty_roots.mkdir()
    for name, data in CONTENT.items():
        (empty_roots / name).write_bytes(data)
    assert locate_published("pair", source("http://nowhere/"), Request()) == empty_roots


def test_missing_files_are_listed_with_the_ways(empty_roots: Path) -> None:
    words = r"(?s)without one, two|no such folder.*fetch pair.*by hand from http://nowhere/ \(one, two\)"
    with pytest.raises(UserError, match=words):
        locate_published("pair", source("http://nowhere/"), Request())


def test_nothing_but_the_published_bytes_is_read(tmp_path: Path) -> None:
    file = File("one", md5(b"first"))
    with pytest.raises(UserError, match="is gone"):
        file.read(tmp_path)
    (tmp_path / "one").write_bytes(b"first ")
    with pytest.raises(UserError, match=r"one: not the published file \(MD5 differs\)"):
        file.read(tmp_path)
