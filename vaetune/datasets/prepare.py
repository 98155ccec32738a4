"""Decoding a split into a memory map: in parallel, resumable after a kill, safe with two processes at once.

A split is written aside, in `.<split>.partial`, and renamed when it is whole. Each finished chunk is noted in a journal
with its checksum, so that a killed preparation goes on where it was, and pages that never reached the disk are decoded
again. The folder is locked meanwhile: a second process waits, then finds the work done.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Images, digest
from vaetune.datasets.locks import locked
from vaetune.datasets.prepared import FORMAT, Recipe, is_current, open_split, read_manifest
from vaetune.errors import UserError

_NAMED = 5  # bad files that a message names; the manifest has all
_BLOCK = 4096
_Map: TypeAlias = np.memmap[Any, np.dtype[np.uint8]]


def prepare(
    recipe: Recipe, root: Path, *, skip_bad: bool = False, progress: bool = True, chunk: int = 256, jobs: int = 0
) -> Images:
    """Decodes the split below `root` unless it is there, `chunk` images at a time in `jobs` threads (0: one per core).

    Files that are no images raise one `UserError` that counts and names them, or are left out and noted in the
    manifest with `skip_bad`; what is decoded stays, so that a second call with it has nothing left to decode.
    """
    home = root / "prepared" / recipe.key()
    folder, aside = home / recipe.split, home / f".{recipe.split}.partial"
    stamp = recipe.stamp()  # before the listing, whose mistakes are found before anything is written
    if not recipe.items:
        raise UserError(f"{recipe.source}: the {recipe.split} split has no images")
    with locked(home), _full_disk(aside):
        manifest = read_manifest(folder)
        if manifest and is_current(manifest, recipe):
            return open_split(folder)
        images = _allocate(recipe, aside, chunk)
        bad = _decode_all(recipe, aside, images, chunk, jobs or len(os.sched_getaffinity(0)), progress)
        if bad and (not skip_bad or len(bad) == len(recipe.items)):
            named = "\n".join(f"  {why}" for _, why in sorted(bad.items())[:_NAMED])
            more = f"\n  and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
            raise UserError(
                f"{len(bad)} of {len(recipe.items)} files of {recipe.split} are no usable images; mend or remove them, "
                f"or leave them out with `python -m vaetune.datasets prepare --skip-bad`:\n{named}{more}"
            )
        _finish(recipe, aside, images, bad, stamp)
        shutil.rmtree(folder, ignore_errors=True)  # out of date: its listing was another
        aside.rename(folder)
        return open_split(folder)


@contextmanager
def _full_disk(aside: Path) -> Iterator[None]:
    """A disk without space is the user's to mend, and nothing that was begun stays on it."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"{aside.parent}: {error.strerror}; nothing of it was kept. Make space, or choose another folder with "
            "--data-root"
        ) from error


def _allocate(recipe: Recipe, aside: Path, chunk: int) -> _Map:
    """The memory map that is being filled: that of a killed run if it decoded the same listing, else a fresh one."""
    plan, path = aside / "plan.json", aside / "images.npy"
    wanted = json.dumps({"listing": recipe.fingerprint(), "chunk": chunk})
    if plan.is_file() and plan.read_text() == wanted:
        return np.lib.format.open_memmap(path, mode="r+")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    images = _new_map(path, (len(recipe.items), *recipe.shape))
    plan.write_text(wanted)
    return images


def _new_map(path: Path, shape: tuple[int, ...]) -> _Map:
    images: _Map = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    try:  # a hole in a memory map on a full disk is a bus error, not an exception: take the space now
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        what = f"cannot take {images.nbytes / 2**30:.2f} GiB for the decoded images: {error.strerror}"
        raise OSError(error.errno, what) from error
    return images


def _decode_all(recipe: Recipe, aside: Path, images: _Map, chunk: int, jobs: int, progress: bool) -> dict[int, str]:
    """Fills the file of `images` but for the chunks in the journal; returns why each bad item is bad."""
    starts = range(0, len(recipe.items), chunk)
    journal = aside / "journal.jsonl"
    noted = _entries(journal)
    done = {entry["start"]: entry for entry in noted if _crc(images[entry["start"] :][:chunk]) == entry["crc"]}
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in done.values()))
    writing = threading.Lock()

    def work(start: int) -> dict[str, Any]:
        entry = _decode(recipe, images, start, chunk)
        with writing:
            file.write(json.dumps(entry) + "\n")
            file.flush()
        return entry

    with journal.open("a") as file, _bar(recipe, progress) as advance:
        advance(sum(min(chunk, len(images) - start) for start in done))
        pool = ThreadPoolExecutor(jobs)  # Pillow decodes and resizes without the interpreter's lock
        try:
            for future in as_completed([pool.submit(work, start) for start in starts if start not in done]):
                entry = future.result()
                done[entry["start"]] = entry
                advance(min(chunk, len(images) - entry["start"]))
        finally:
            pool.shutdown(cancel_futures=True)
    return {int(row): why for entry in done.values() for row, why in entry["bad"].items()}


def _decode(recipe: Recipe, images: _Map, start: int, chunk: int) -> dict[str, Any]:
    """Decodes one chunk into the file; its pages are written rather than touched, which costs a quarter."""
    bad = {}
    items = recipe.items[start : start + chunk]
    block = np.zeros((len(items), *recipe.shape), np.uint8)
    for i, item in enumerate(items):
        try:
            block[i] = recipe.decode(recipe.source / item.path)
        except UserError as error:
            bad[start + i] = str(error)
    assert images.filename is not None
    with Path(images.filename).open("r+b", buffering=0) as file:
        file.seek(images.offset + start * block[:1].nbytes)
        file.write(block.data)
    return {"start": start, "crc": _crc(block), "bad": bad}


def _finish(recipe: Recipe, aside: Path, images: _Map, bad: dict[int, str], stamp: str) -> None:
    """Leaves images, labels, groups and manifest, on the disk, in `aside`."""
    labels, groups = (np.array([getattr(i, name) for i in recipe.items], np.int64) for name in ("label", "group"))
    if bad:
        kept = np.setdiff1d(np.arange(len(images)), list(bad))
        whole = _new_map(aside / "kept.npy", (len(kept), *recipe.shape))
        for start in range(0, len(kept), _BLOCK):
            whole[start : start + _BLOCK] = images[kept[start : start + _BLOCK]]
        (aside / "kept.npy").replace(aside / "images.npy")
        images, labels, groups = whole, labels[kept], groups[kept]
    np.save(aside / "labels.npy", labels)
    grouped = bool((groups >= 0).any())
    if grouped:
        np.save(aside / "groups.npy", groups)
    manifest = {
        "format": FORMAT,
        "source": str(recipe.source.resolve()),
        "split": recipe.split,
        "options": recipe.options,
        "shape": recipe.shape,
        "count": len(labels),
        "groups": grouped,
        "stamp": stamp,
        "listing": recipe.fingerprint(),
        "sha256": digest(Images(images, labels)),
        "skipped": [why for _, why in sorted(bad.items())],
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (aside / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for name in ("journal.jsonl", "plan.json"):
        (aside / name).unlink()
    for path in aside.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())  # of a mapped file, its mapped pages too


def _entries(journal: Path) -> list[dict[str, Any]]:
    """The journal's entries; a last line cut short by a kill is no entry."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _crc(array: NDArray[np.uint8]) -> int:
    """Enough to tell pages that never reached the disk, at a third of the cost of a hash."""
    return zlib.crc32(np.ascontiguousarray(array).data)


@contextmanager
def _bar(recipe: Recipe, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar with the time left, on a terminal's standard error only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(f"decoding {recipe.name} {recipe.split}", total=len(recipe.items))
        yield lambda count: bar.advance(task, count)
