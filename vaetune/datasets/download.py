"""Fetching a published file: aside, checked against its SHA-256, renamed into place; two processes at once are safe."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import http.client
import logging
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from vaetune.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, made if need be; it is the kernel's, so a killed process leaves none behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --data-root"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch_gzipped(urls: Sequence[str], target: Path, sha256: str) -> None:
    """Writes the unpacked content of the first of `urls` that answers with the right bytes.

    The caller holds the folder's lock. Raises `UserError` with every address tried and what was wrong with it.
    """
    aside = target.with_name(f".{target.name}.part")  # a fixed name: what a killed process left is overwritten
    problems = []
    try:
        for url in urls:
            try:
                found = _unpack(url, aside)
            except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
                problems.append(f"{url}: {error or type(error).__name__}")
                continue
            if found == sha256:
                aside.replace(target)
                return
            problems.append(f"{url}: wrong checksum {found} of the unpacked bytes, expected {sha256}; refused")
    finally:
        aside.unlink(missing_ok=True)
    raise UserError("\n  ".join([f"cannot fetch {target.name}:", *problems]))


def _unpack(url: str, aside: Path) -> str:
    """The SHA-256 of what was unpacked from `url` into `aside`."""
    _log.info("fetching %s", url)
    sha = hashlib.sha256()
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
        gzip.GzipFile(fileobj=response) as stream,
        aside.open("wb") as file,
    ):
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
            file.write(chunk)
    return sha.hexdigest()
