"""CelebA: 202,599 faces with 40 attributes (Liu et al., *Deep Learning Face Attributes in the Wild*, ICCV 2015).

`celeba:Smiling` labels by one attribute, `celeba:Smiling+Male` by the combinations of several; `@64` (the default) or
`@128` is the size, `,grey` gives one channel. The centred square of 148 pixels is cut out, then resized, as is usual.

The official layout, below `celeba/` in a data root: `img_align_celeba/*.jpg` and the lists of attributes, splits and
identities. A partial download will do: the images that exist are used. The official test split stays sealed; the
official training and validation images are the development images, and vaetune parts no person when it splits them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import final

import numpy as np

from vaetune.datasets import celeba_lists as lists
from vaetune.datasets import options, published
from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.prepared import Item, PreparedDataset, Recipe, Split
from vaetune.errors import UserError

SUMMARY = "202,599 faces with 40 attributes, in the official layout, 178×218 RGB cropped to 148×148"
IMAGES, ATTRIBUTES, PARTITION, IDENTITIES = (
    "img_align_celeba",
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
    "identity_CelebA.txt",
)
_FORM = "ATTRIBUTE[+ATTRIBUTE…][@64|128][,grey]"
_WINDOW, _SIZES = 148, (64, 128)  # pixels
_TEST = 2  # in the list of splits; 0 is training, 1 validation
_HEADER = 1 << 14  # bytes: more than the number of rows and the attributes' names need
_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class CelebA(PreparedDataset):
    """The label counts in binary: the first attribute is the most significant bit."""

    folder: Path
    attributes: tuple[str, ...]

    def recipe(self, split: Split) -> Recipe:
        """The images of the split that exist, in the order of the list."""
        from vaetune.datasets.decode import Decoder

        return Recipe(
            name="celeba",
            split=split,
            source=self.folder,
            listing=lambda: _items(self.folder, self.attributes, split),
            shape=self.shape,
            options={"attributes": self.attributes, "window": _WINDOW},
            decode=Decoder(self.shape, crop=True, window=_WINDOW),
            watched=tuple(self.folder / name for name in (IMAGES, ATTRIBUTES, PARTITION, IDENTITIES)),
        )


def dataset(request: Request) -> Dataset:
    """The official files in a data root; of the lists no more is read than the names and the sizes of the splits."""
    chosen = options.parse("celeba", request.argument, _FORM, {})
    size = chosen.size or _SIZES[0]
    if size not in _SIZES:
        raise UserError(f"dataset 'celeba:{request.argument}': size {size}, expected 64 or 128")
    attributes = tuple(chosen.target.split("+"))
    place = folder(request)
    with (place / ATTRIBUTES).open(encoding="ascii", errors="replace") as file:
        header = file.read(_HEADER)
    lists.attributes(_head(header), attributes, str(place / ATTRIBUTES))
    present, missing = _present(place)
    if not all(present.values()):
        raise UserError(f"{place / IMAGES}: none of the images of one of the splits of {PARTITION} is there")
    if missing:
        _log.warning(
            "%s: %d of the %d images are missing", place / IMAGES, missing, missing + sum(map(len, present.values()))
        )
    return CelebA(
        name=f"celeba:{request.argument}",
        summary=f"faces in {place} by {', '.join(attributes)}; {missing:,} of its images are missing",
        licence="for non-commercial research only (its authors)",
        class_names=class_names(attributes),
        shape=(1 if chosen.grey else 3, size, size),
        test_size=len(present["test"]),
        folder=place,
        attributes=attributes,
        root=request.root,
    )


def folder(request: Request) -> Path:
    """Where the official files lie; raises `UserError` if any of them is nowhere."""
    return published.locate(
        f"celeba:{request.argument}",
        request,
        folders=("celeba", "CelebA"),
        expected=[f"{IMAGES}/*.jpg", ATTRIBUTES, PARTITION, IDENTITIES],
        absent=lambda place: [
            name for name in (IMAGES, ATTRIBUTES, PARTITION, IDENTITIES) if not (place / name).exists()
        ],
        ways=("by hand into {root}/celeba from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (its terms apply)",),
    )


def class_names(attributes: Sequence[str]) -> tuple[str, ...]:
    """One for every combination: "not Smiling" and "Smiling", or "not Smiling, Male" and so on."""
    sides = [(f"not {name}", name) for name in attributes]
    return tuple(", ".join(combination) for combination in product(*sides))


def _head(text: str) -> str:
    """The beginning of a list of attributes as one without rows."""
    return "0\n" + text.partition("\n")[2].partition("\n")[0] + "\n"


def _present(folder: Path) -> tuple[dict[Split, list[str]], int]:
    """The files of both splits that exist, in the order of the list, and how many are missing."""
    where = folder / PARTITION
    partition = lists.numbers(lists.read(where), str(where), range(3))
    if not (folder / IMAGES).is_dir():
        raise UserError(f"{folder / IMAGES}: expected a folder of images")
    exist = set(os.listdir(folder / IMAGES))
    present: dict[Split, list[str]] = {"development": [], "test": []}
    for file, part in partition.items():
        if file in exist:
            present["test" if part == _TEST else "development"].append(file)
    return present, len(partition) - sum(map(len, present.values()))


def _items(folder: Path, wanted: Sequence[str], split: Split) -> list[Item]:
    """The images of the split, checked against all three lists."""
    paths = {name: folder / name for name in (ATTRIBUTES, PARTITION, IDENTITIES)}
    files, values = lists.attributes(lists.read(paths[ATTRIBUTES]), wanted, str(paths[ATTRIBUTES]))
    partition = lists.numbers(lists.read(paths[PARTITION]), str(paths[PARTITION]), range(3))
    identities = lists.numbers(lists.read(paths[IDENTITIES]), str(paths[IDENTITIES]))
    for name, other in ((PARTITION, partition), (IDENTITIES, identities)):
        if odd := set(files) ^ set(other):
            raise UserError(
                f"{folder}: {ATTRIBUTES} has {len(files)} images and {name} {len(other)}; {min(odd)} is in one only"
            )
    _disjoint(partition, identities, folder)
    weights = 2 ** np.arange(len(wanted))[::-1]
    labels = dict(zip(files, (values @ weights).tolist(), strict=True))
    items = []
    for file in _present(folder)[0][split]:
        status = (folder / IMAGES / file).stat()
        items.append(Item(f"{IMAGES}/{file}", labels[file], status.st_size, status.st_mtime_ns, identities[file]))
    return items


def _disjoint(partition: lists.Rows, identities: lists.Rows, folder: Path) -> None:
    """Raises `UserError` if a person is in the test split and in another."""
    parts: dict[bool, set[int]] = {True: set(), False: set()}
    for file, part in partition.items():
        parts[part == _TEST].add(identities[file])
    if both := parts[True] & parts[False]:
        raise UserError(
            f"{folder}: {len(both)} identities are in the test split and in another, such as {min(both)}: "
            f"{PARTITION} or {IDENTITIES} is not the official one"
        )
