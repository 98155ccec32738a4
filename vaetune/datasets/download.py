"""Fetching a published file: aside, checked against its checksum, renamed into place."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import tarfile
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from vaetune.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_BROKEN = (OSError, EOFError, zlib.error, http.client.HTTPException, tarfile.TarError)
_log = logging.getLogger(__name__)


def fetch(urls: Sequence[str], target: Path, checksum: str, *, gzipped: bool = False) -> None:
    """Writes the content, unpacked if it is `gzipped`, of the first of `urls` that answers with the right bytes.

    `checksum` is "sha256:…" or "md5:…" of what is written. The caller holds the folder's lock.
    Raises `UserError` with every address tried and what was wrong with it.
    """
    aside = target.with_name(f".{target.name}.part")  # a fixed name: what a killed process left is overwritten
    problems = []
    try:
        for url in urls:
            try:
                found = _write(url, aside, checksum, gzipped)
            except _BROKEN as error:
                problems.append(f"{url}: {error or type(error).__name__}")
                continue
            if found == checksum:
                aside.replace(target)
                return
            what = "the unpacked bytes" if gzipped else "the file"
            problems.append(f"{url}: wrong checksum {found} of {what}, expected {checksum}; refused")
    finally:
        aside.unlink(missing_ok=True)
    raise UserError("\n  ".join([f"cannot fetch {target.name}:", *problems]))


def fetch_members(urls: Sequence[str], archive: Path, checksum: str, members: Sequence[str]) -> None:
    """Fetches a tar archive and leaves only those `members` of it, by their own names, beside it."""
    fetch(urls, archive, checksum)
    try:
        with tarfile.open(archive) as tar:
            for member in members:
                target = archive.with_name(Path(member).name)
                aside = target.with_name(f".{target.name}.part")
                content = tar.extractfile(member)  # read by name: nothing in the archive chooses where it is written
                if content is None:
                    raise UserError(f"{archive.name}: {member} is not a file")
                aside.write_bytes(content.read())
                aside.replace(target)
    except (KeyError, *_BROKEN) as error:
        raise UserError(f"{archive.name}: cannot unpack it: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def checksum_of(data: bytes, like: str) -> str:
    """The checksum of `data` by the algorithm of the checksum `like`, in the same form."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"


def _write(url: str, aside: Path, like: str, gzipped: bool) -> str:
    """The checksum of what was written from `url` into `aside`."""
    _log.info("fetching %s", url)
    algorithm = like.partition(":")[0]
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    written = 0
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response, aside.open("wb") as file:
        length = response.headers.get("Content-Length")
        stream = gzip.GzipFile(fileobj=response) if gzipped else response
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
            written += file.write(chunk)
    if not gzipped and length and written < int(length):  # a gzip stream notices by itself
        raise EOFError(f"the connection ended after {written:,} of {int(length):,} bytes")
    return f"{algorithm}:{hasher.hexdigest()}"
