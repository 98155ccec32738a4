"""Secrets in what a study leaves behind."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from bench import Driver

from vaetune.storage import Storage


def ray_token(driver: Driver) -> str:
    """The token of a driver's Ray, as its processes are handed it."""
    for pid in driver.look():
        for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = each.partition(b"=")
            if name == b"RAY_AUTH_TOKEN":
                return value.decode()
    raise AssertionError("no process has RAY_AUTH_TOKEN")


def ray_logs(driver: Driver) -> dict[str, bytes]:
    """The logs of a driver's Ray: all of the session's folder, which goes when the driver does."""
    for pid in driver.look():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            before, session, _ = os.readlink(link).partition("/session_")
            if session and before:
                return contents(Path(before))
    raise AssertionError("no process has a file of Ray's session open")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[str(path)] = path.read_bytes()
    return found


def stored(storage: Storage) -> dict[str, bytes]:
    """Every file of a storage, tables as text."""
    found = {}
    for path in _walk(storage, ""):
        with contextlib.suppress(FileNotFoundError):  # a folder that a server lists though it holds nothing any more
            found[path] = _plain(path, storage.read(path))
    return found


def _walk(storage: Storage, folder: str) -> Iterator[str]:
    for name in storage.list(folder):
        path = f"{folder}/{name}".strip("/")
        inside = storage.list(path)
        if inside:
            yield from _walk(storage, path)
        else:
            yield path


def _plain(path: str, data: bytes) -> bytes:
    return pd.read_parquet(io.BytesIO(data)).to_csv().encode() if path.endswith(".parquet") else data


def leaks(secrets: Mapping[str, str], sources: Mapping[str, Mapping[str, bytes]], witness: str) -> list[str]:
    """Where a secret is found; and sources in which not even the `witness`, which is no secret, is found."""
    out = [f"{name} lacks {witness!r}: not searched" for name, files in sources.items() if not _in(files, witness)]
    for secret, value in secrets.items():
        out += [f"{secret} in {path}" for files in sources.values() for path in _in(files, value)]
    return out


def _in(files: Mapping[str, bytes], text: str) -> list[str]:
    return [path for path, data in files.items() if text.encode() in data]
