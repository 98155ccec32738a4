"""Decode once: one split of an image collection as a uint8 memory map, so that opening it again takes milliseconds.

    <root>/prepared/<name>-<8 hex>/<split>/images.npy labels.npy [groups.npy] manifest.json

This file says what a prepared split is and opens it; `prepare` makes it. A family whose images have to be decoded is a
`PreparedDataset` that lists its files. Listing hundreds of thousands takes seconds, so a split is also known by a
stamp: the times of the folders and lists that its files are in. These change when files are added, removed or renamed;
a file that is overwritten in its place is noticed by the command `prepare`, which always makes the listing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset, Images
from vaetune.datasets.roots import search_roots, writable_root
from vaetune.errors import UserError

FORMAT = 2
_SETTLED = 2.0  # seconds: what changed this recently may change again without another time
Split: TypeAlias = Literal["development", "test"]
_log = logging.getLogger(__name__)


class Item(NamedTuple):
    """One image file: its path below the source, its label, what tells that it has changed, and its group if any."""

    path: str
    label: int
    size: int
    modified: int
    group: int = -1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to decode: the items of one split below `source`, each through `decode` to uint8 of `shape` (C, H, W).

    `name` and `options` name the result: whatever changes the pixels or labels belongs into `options`. `listing` finds
    the items; `watched` are the folders and files whose times change with the listing (none: it is always made).
    """

    name: str
    split: str
    source: Path
    listing: Callable[[], Sequence[Item]]
    shape: tuple[int, int, int]
    options: dict[str, Any]
    decode: Callable[[Path], NDArray[np.uint8]]
    watched: tuple[Path, ...] = ()

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The image files, listed once."""
        return tuple(self.listing())

    def key(self) -> str:
        """The folder's name: readable, and another one for another source or other options."""
        text = json.dumps([FORMAT, str(self.source.resolve()), self.shape, self.options], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def fingerprint(self) -> str:
        """The SHA-256 of the listing: files added, removed, renamed or changed since give another one."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.items).encode()).hexdigest()

    def stamp(self) -> str:
        """What is watched, in hex; "" if that is nothing, or has changed so recently that its times say little."""
        if not self.watched:
            return ""
        try:
            times = [path.stat().st_mtime_ns for path in self.watched]
        except FileNotFoundError:
            return ""
        if max(times) > time.time_ns() - _SETTLED * 1e9:
            return ""
        text = json.dumps([list(map(str, self.watched)), times])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedDataset(Dataset):
    """A family of image files, decoded when they are first asked for, below one of the data roots (`root` first)."""

    root: Path | None

    @abstractmethod
    def recipe(self, split: Split) -> Recipe:
        """What to decode; raises `UserError` if the files do not make a split."""

    @final
    def development(self) -> Images:
        """All but the test split, as a memory map."""
        return self._opened("development")

    @final
    def sealed_test(self) -> Images:
        """The test split, as a memory map."""
        return self._opened("test")

    @final
    def prepare(self, split: Split, skip_bad: bool = False) -> Images:
        """The split, decoded now if any file has changed; `skip_bad` leaves out files that are no usable images."""
        return self._prepared(self.recipe(split), skip_bad, trust_times=False)

    def _opened(self, split: Split) -> Images:
        return self._prepared(self.recipe(split), skip_bad=False, trust_times=True)

    def _prepared(self, recipe: Recipe, skip_bad: bool, trust_times: bool) -> Images:
        found = find(recipe, search_roots(self.root), trust_times)
        if found is not None:
            return found
        from vaetune.datasets.prepare import prepare

        return prepare(recipe, writable_root(self.root), skip_bad=skip_bad)


def find(recipe: Recipe, roots: Sequence[Path], trust_times: bool = False) -> Images | None:
    """The prepared split in the first of `roots` that has it, up to date; None if none has."""
    for root in roots:
        folder = root / "prepared" / recipe.key() / recipe.split
        manifest = read_manifest(folder)
        if manifest and is_current(manifest, recipe, trust_times):
            return open_split(folder)
    return None


def is_current(manifest: dict[str, Any], recipe: Recipe, trust_times: bool = False) -> bool:
    """Whether that is what the recipe would make now."""
    if trust_times and manifest["stamp"] and manifest["stamp"] == recipe.stamp():
        return True
    return bool(manifest["listing"] == recipe.fingerprint())


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared split; None if there is none, `UserError` if it is damaged."""
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete {folder} and prepare it again") from error
    return manifest


def open_split(folder: Path) -> Images:
    """The prepared images as a read-only memory map; raises `UserError` if the files are not those of the manifest."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder}: nothing is prepared here")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npy")
        groups = np.load(folder / "groups.npy") if manifest["groups"] else None
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{folder}: damaged ({error}); delete it and prepare it again") from error
    expected = (manifest["count"], *manifest["shape"])
    lengths = {len(array) for array in (labels, groups) if array is not None}
    if images.shape != expected or images.dtype != np.uint8 or lengths != {manifest["count"]}:
        raise UserError(f"{folder}: found images {images.shape}, expected {expected}; delete it and prepare it again")
    if manifest["skipped"]:
        _log.warning("%s: %d unusable files were left out", folder, len(manifest["skipped"]))
    return Images(images, labels, groups)


def folder_of(images: Images) -> Path:
    """Where prepared images lie."""
    assert isinstance(images.images, np.memmap)
    assert images.images.filename is not None
    return Path(images.images.filename).parent


def verify(images: Images, found: str) -> None:
    """Raises `UserError` if the digest `found` of prepared images is not the one that their manifest notes."""
    folder = folder_of(images)
    manifest = read_manifest(folder)
    if manifest is None or manifest["sha256"] != found:
        raise UserError(f"{folder}: the images have changed since they were prepared; delete it and prepare it again")
