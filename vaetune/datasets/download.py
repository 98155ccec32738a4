"""Fetching a published file: aside, checked against its SHA-256, renamed into place."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from vaetune.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_log = logging.getLogger(__name__)


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
