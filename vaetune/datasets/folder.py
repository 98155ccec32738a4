"""Any collection of image files: `folder:NAME` is the tree <data root>/NAME/{train,test}/<class>/*.{jpg,png,…}.

Every file below a class's folder counts as an image, so that one in a format nobody can read is noticed.

`folder:NAME@64` crops to the centred square and resizes it to 64x64; without a size all images must have that of the
first. `,grey` at the end gives one channel. Folders `val`, `valid` and `validation` join `train`: vaetune splits them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.prepared import Item, PreparedDataset, Recipe, Split
from vaetune.datasets.roots import missing, search_roots
from vaetune.errors import UserError

SUMMARY = "any images in <data root>/NAME/{train,test}/<class>/*.{jpg,png}"
DEVELOPMENT = ("train", "val", "valid", "validation")
_ARGUMENT = re.compile(r"(?P<name>[^@,]+)(@(?P<size>[1-9]\d{0,3}))?(?P<grey>,grey)?")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder(PreparedDataset):
    """A tree of image files below `folder`; `crop` as in `vaetune.datasets.decode.Decoder`."""

    folder: Path
    crop: bool

    def recipe(self, split: Split) -> Recipe:
        """The files of the split's folders, by class and name."""
        from vaetune.datasets.decode import Decoder

        folders = [
            name for name in (DEVELOPMENT if split == "development" else ("test",)) if (self.folder / name).is_dir()
        ]

        def listing() -> list[Item]:
            items = [item for name in folders for item in _items(self.folder, name, self.class_names)]
            if empty := set(range(self.classes)) - {item.label for item in items}:
                names = ", ".join(self.class_names[label] for label in sorted(empty))
                raise UserError(f"{self.folder}: the {split} split has no images of: {names}")
            return items

        return Recipe(
            name=self.folder.name,
            split=split,
            source=self.folder,
            listing=listing,
            shape=self.shape,
            options={"crop": self.crop, "class_names": self.class_names},
            decode=Decoder(self.shape, self.crop),
            watched=tuple(self.folder / name / label for name in folders for label in self.class_names),
        )


def dataset(request: Request) -> Dataset:
    """The tree of that name in a data root; the first image is looked at, none is decoded yet."""
    name, size, grey = _parse(request.argument)
    folder = _locate(name, request)
    class_names = _classes(folder)
    return ImageFolder(
        name=f"folder:{request.argument}",
        summary=f"images in {folder}",
        licence="that of the images",
        class_names=class_names,
        shape=(1 if grey else 3, *((size, size) if size else _first_size(folder, class_names))),
        test_size=sum(len(_files(folder / "test" / name)) for name in class_names),
        folder=folder,
        crop=bool(size),
        root=request.root,
    )


def _parse(argument: str) -> tuple[str, int, bool]:
    """(name, size or 0, grey?)"""
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        raise UserError(f"dataset 'folder:{argument}': write folder:NAME, folder:NAME@64 or folder:NAME@64,grey")
    return found["name"], int(found["size"] or 0), bool(found["grey"])


def _locate(name: str, request: Request) -> Path:
    tried = []
    for root in search_roots(request.root):
        folder = root / name
        absent = [part for part in ("train", "test") if not (folder / part).is_dir()]
        if not absent:
            return folder
        tried.append((folder, f"without {' and '.join(absent)}" if folder.is_dir() else "no such folder"))
    ways = [f"put a tree of images below {shlex.quote(str(tried[0][0]))}, or name its parent with --data-root"]
    raise missing(f"folder:{name}", tried, ["train/<class>/*.jpg", "test/<class>/*.jpg"], ways)


def _classes(folder: Path) -> tuple[str, ...]:
    """The sorted names of the class folders, the same below every split."""
    train, *others = (_folders(folder / part) for part in (*DEVELOPMENT, "test") if (folder / part).is_dir())
    if not train:
        raise UserError(f"{folder / 'train'}: expected one folder a class, found none")
    for other in others:
        if other != train:
            odd = ", ".join(sorted(set(train) ^ set(other)))
            raise UserError(f"{folder}: every split needs the same classes; not in all of them: {odd}")
    return tuple(train)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _first_size(folder: Path, class_names: tuple[str, ...]) -> tuple[int, int]:
    from vaetune.datasets.decode import size_of

    first = next(iter(_items(folder, "train", class_names)), None)
    if first is None:
        raise UserError(f"{folder / 'train'}: no images in the class folders")
    return size_of(folder / first.path)


def _items(source: Path, split: str, class_names: tuple[str, ...]) -> Iterator[Item]:
    """The files of a split, by class and name; none if the split has no folder."""
    for label, name in enumerate(class_names if (source / split).is_dir() else ()):
        for file in sorted(_files(source / split / name), key=lambda entry: entry.name):
            status = file.stat()
            yield Item(f"{split}/{name}/{file.name}", label, status.st_size, status.st_mtime_ns)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
