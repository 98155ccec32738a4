"""One suite of promises for both backends, and what each must do when the disk or the network misbehaves."""

from __future__ import annotations

import errno
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from pyarrow import fs  # type: ignore[import-untyped]

import vaetune.storage as module
from vaetune.errors import UserError
from vaetune.storage import Storage


class Bucket(fs.FSSpecHandler):  # type: ignore[misc]
    """An object store in memory that fails calls of a kind on demand, or keeps only part of what it is sent."""

    def __init__(self) -> None:
        memory = MemoryFileSystem(skip_instance_cache=True)
        memory.store, memory.pseudo_dirs = {}, [""]
        super().__init__(memory)
        self.failures = {"write": 0, "read": 0, "list": 0}
        self.keep: int | None = None
        self.calls = 0

    def _strike(self, kind: str) -> None:
        self.calls += 1
        if self.failures[kind]:
            self.failures[kind] -= 1
            raise OSError(errno.EIO, "503 SlowDown")

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._strike("write")
        return super().open_output_stream(path, metadata)

    def open_input_stream(self, path: str) -> Any:
        self._strike("read")
        return super().open_input_stream(path)

    def get_file_info(self, paths: list[str]) -> Any:
        if self.keep is not None:
            for path in paths:
                self.fs.pipe_file(path, self.fs.cat_file(path)[: self.keep])
        return super().get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        self._strike("list")
        return super().get_file_info_selector(selector)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """What `s3://…` addresses open for the length of a test, without pauses between tries."""
    bucket = Bucket()

    def open_s3(uri: str) -> tuple[fs.FileSystem, str]:
        return fs.PyFileSystem(bucket), uri.removeprefix("s3://").partition("?")[0]

    monkeypatch.setattr(module, "open_s3", open_s3)
    monkeypatch.setattr(module, "BACK_OFF", (0.0, 0.0, 0.0))
    return bucket


@pytest.fixture(params=["disk", "objects"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Storage:
    return Storage(tmp_path / "root") if request.param == "disk" else Storage("s3://bucket/prefix")


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("a/b/c.bin", b"one")
    storage.write("a/b/c.bin", b"two")
    storage.write("empty", b"")
    assert (storage.read("a/b/c.bin"), storage.read("empty")) == (b"two", b"")


def test_bytes_are_not_compressed_by_their_name(storage: Storage) -> None:
    storage.write("table.csv.gz", b"plain")
    assert storage.read("table.csv.gz") == b"plain"


def test_list_names_what_lies_directly_below(storage: Storage) -> None:
    for path in ("t/b.parquet", "t/a.parquet", "t/deep/er/c"):
        storage.write(path, b"x")
    assert storage.list("t") == ["a.parquet", "b.parquet", "deep"]
    assert storage.list() == ["t"]
    assert storage.list("nowhere") == []


def test_exists_for_files_and_folders(storage: Storage) -> None:
    storage.write("a/b", b"x")
    assert storage.exists("a/b") and storage.exists("a")
    assert not storage.exists("a/c") and not storage.exists("b")


def test_delete_takes_files_folders_and_nothing(storage: Storage) -> None:
    for path in ("a/b", "a/c/d", "e"):
        storage.write(path, b"x")
    storage.delete("a/b")
    assert storage.list("a") == ["c"]
    storage.delete("a")
    storage.delete("never/was")
    assert not storage.exists("a/c/d") and storage.read("e") == b"x"


def test_a_missing_file_is_file_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("nowhere/x")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/", ""])
def test_paths_stay_below_the_root(storage: Storage, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.write(path, b""),
        lambda: storage.read(path),
        lambda: storage.delete(path),
    ]
    if path:  # the root itself may be listed
        calls += [lambda: storage.exists(path), lambda: storage.list(path), lambda: storage.below(path)]
    for call in calls:
        with pytest.raises(ValueError, match="path"):
            call()


def test_below_and_pickle_lead_to_the_same_files(storage: Storage) -> None:
    storage.write("study/run/x", b"1")
    below = pickle.loads(pickle.dumps(storage.below("study").below("run")))
    assert below.read("x") == b"1"
    below.write("y", b"2")
    assert storage.read("study/run/y") == b"2"
    assert (below.local is None) == (storage.local is None)


def test_a_local_root_does_not_move_with_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("runs/x/")
    assert storage.uri == str(tmp_path / "runs/x") == str(storage.local)
    assert Storage(f"file://{tmp_path}/runs/x").uri == storage.uri


def test_below_keeps_the_query(bucket: Bucket) -> None:
    uri = "s3://b/p/?endpoint_override=http://127.0.0.1:9&region=r"
    assert Storage(uri).below("q").uri == "s3://b/p/q?endpoint_override=http://127.0.0.1:9&region=r"
    assert Storage(uri).local is None


@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    storage = Storage(tmp_path)
    storage.write("x", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, when, full)
        with pytest.raises(OSError, match="No space"):
            storage.write("x", b"new")
    assert storage.read("x") == b"old" and os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names open files by /proc")
def test_a_write_is_durable_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, list[str]]] = []

    def spy(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        synced.append((name, os.listdir(name) if os.path.isdir(name) else [Path(name).read_text()]))

    monkeypatch.setattr(os, "fsync", spy)
    Storage(tmp_path).write("a/x", b"data")
    assert synced[0] == (str(tmp_path), ["a"])
    assert synced[1][0].endswith(".aside") and synced[1][1] == ["data"]
    assert synced[2] == (str(tmp_path / "a"), ["x"])


def test_list_hides_what_a_killed_writer_left_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path)
    seen: list[list[str]] = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        seen.extend([storage.list(), os.listdir(tmp_path)])
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    storage.write("x", b"1")
    assert seen[0] == [] and len(seen[1]) == 1


@pytest.mark.parametrize("kind", ["write", "read", "list"])
@pytest.mark.parametrize("failures", [3, 4])
def test_three_faults_are_weathered_and_the_fourth_is_raised(bucket: Bucket, kind: str, failures: int) -> None:
    storage = Storage("s3://bucket/p")
    storage.write("x", b"old")
    bucket.failures[kind] = failures
    bucket.calls = 0
    actions: dict[str, Callable[[], object]] = {
        "write": lambda: storage.write("x", b"new"),
        "read": lambda: storage.read("x"),
        "list": storage.list,
    }
    if failures == 3:
        actions[kind]()
    else:
        with pytest.raises(OSError, match="SlowDown"):
            actions[kind]()
    assert bucket.calls == 4
    assert storage.read("x") == (b"new" if kind == "write" and failures == 3 else b"old")


def test_a_missing_object_is_not_asked_for_again(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        Storage("s3://bucket/p").read("x")
    assert bucket.calls == 1


def test_a_deletion_whose_answer_is_lost_counts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("s3://bucket/p")
    done: list[str] = []

    def deaf(path: str) -> None:
        done.append(path)
        raise FileNotFoundError(path) if len(done) % 2 == 0 else OSError("no answer")

    monkeypatch.setattr(bucket, "delete_file", deaf)
    monkeypatch.setattr(bucket, "delete_dir", deaf)
    storage.write("a/x", b"1")
    storage.delete("a/x")
    storage.delete("a")
    assert done == ["bucket/p/a/x"] * 2 + ["bucket/p/a"] * 2


def test_pauses_grow(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.undo()
    monkeypatch.setattr(module, "open_s3", lambda uri: (fs.PyFileSystem(bucket), "b"))
    monkeypatch.setattr(time, "sleep", pauses.append)
    bucket.failures["write"] = 4
    with pytest.raises(OSError, match="SlowDown"):
        Storage("s3://b").write("x", b"")
    assert pauses == [0.5, 1.0, 2.0]


def test_a_write_that_the_store_cut_short_is_an_error(bucket: Bucket) -> None:
    bucket.keep = 2
    with pytest.raises(OSError, match="wrote 5 bytes, the store holds 2"):
        Storage("s3://bucket/p").write("x", b"12345")


@pytest.mark.parametrize(
    "uri", ["gs://b/p", "s3://key:secret@b/p", "s3:///p", "s3://b/p?access_key=k", "s3://b/p?endpoint_overide=h"]
)
def test_addresses_that_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="storage"):
        Storage(uri)


def test_the_endpoint_comes_from_the_address_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k-from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s-from-environment")
    from_environment, base = module.open_s3("s3://b/p/")
    from_address, _ = module.open_s3("s3://b/p?endpoint_override=http://127.0.0.1:1&region=us-east-1")
    assert base == "b/p" and from_environment == from_address
    assert from_environment.region == "us-east-1"
    assert b"from-environment" not in pickle.dumps(Storage("s3://b/p"))
