"""Datasets published as a few files with known checksums: where these lie, fetching them, reading none but them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaetune.datasets.base import Request
from vaetune.datasets.download import checksum_of, fetch, fetch_members
from vaetune.datasets.locks import locked
from vaetune.datasets.roots import missing, search_roots, writable_roots
from vaetune.errors import UserError


@dataclass(frozen=True)
class File:
    """One published file: its name, and its checksum as "md5:…" or "sha256:…"."""

    name: str
    checksum: str

    def read(self, folder: Path) -> bytes:
        """Its bytes; raises `UserError` unless they are the published ones, so no parser ever meets anything else."""
        path = folder / self.name
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise UserError(f"{path} is gone; it was there when the dataset was opened") from error
        if checksum_of(data, self.checksum) != self.checksum:
            kind = self.checksum.partition(":")[0].upper()
            raise UserError(f"{path}: not the published file ({kind} differs); delete it and fetch it again")
        return data


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where such a dataset comes from.

    `folders` lie below a data root ("" is the root itself), the first being where a download goes. The publisher has
    the files at `url`/name, or, with `archive`, as the members of that tar archive below its one folder.
    """

    folders: tuple[str, ...]
    files: tuple[File, ...]
    url: str
    archive: File | None = None

    def absent(self, folder: Path) -> list[str]:
        """The names of the files that are not in `folder`."""
        return [file.name for file in self.files if not (folder / file.name).is_file()]

    def fetch(self, folder: Path) -> None:
        """Gets what is not in `folder` from the publisher; the caller holds its lock."""
        wanted = self.absent(folder)
        if self.archive and wanted:
            urls = [f"{self.url}{self.archive.name}"]
            members = [f"{self.folders[0]}/{name}" for name in wanted]
            fetch_members(urls, folder / self.archive.name, self.archive.checksum, members)
            return
        for file in self.files:
            if file.name in wanted:
                fetch([f"{self.url}{file.name}"], folder / file.name, file.checksum)


def locate_published(name: str, source: Source, request: Request) -> Path:
    """The folder that has all of the source's files; fetched if that was asked for, else `UserError`."""
    files = [file.name for file in source.files]
    what = source.archive.name if source.archive else ", ".join(files)
    return locate(
        name,
        request,
        folders=source.folders,
        expected=files,
        absent=source.absent,
        fetch=source.fetch,
        ways=(f"by hand from {source.url} ({what})",),
    )


def locate(
    name: str,
    request: Request,
    *,
    folders: Sequence[str],
    expected: Sequence[str],
    absent: Callable[[Path], list[str]],
    ways: Sequence[str],
    fetch: Callable[[Path], None] | None = None,
) -> Path:
    """The first of the `folders` below the data roots in which `absent` misses nothing.

    If there is none it is fetched into the first of them, if there is a way and the request says so; else `UserError`
    lists the places, the files `expected` there and the `ways` to get them, in which {root} stands for the data root.
    """
    tried = []
    for root in search_roots(request.root):
        for below in folders:
            folder = root / below
            lacking = absent(folder)
            if not lacking:
                return folder
            tried.append((folder, f"without {', '.join(lacking)}" if folder.is_dir() else "no such folder"))
    target = writable_roots(request.root)[0]
    others = [way.format(root=shlex.quote(str(target))) for way in ways]
    if fetch and request.download:
        folder = target / folders[0]
        try:
            with locked(folder):
                fetch(folder)
        except UserError as error:
            raise UserError("\n  ".join([f"{error}\nOther ways to get it:", *others])) from error
        return folder
    if fetch:
        here = f" --data-root {shlex.quote(str(request.root))}" if request.root else ""
        others.insert(0, f"python -m vaetune.datasets fetch {name}{here}  (from the publisher, as --download does)")
    raise missing(name, tried, expected, others)
