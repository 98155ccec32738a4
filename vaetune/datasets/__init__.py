"""The catalogue of datasets. A new family is one file with `SUMMARY` and `dataset(request)`, plus one line here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.errors import UserError, unknown

if TYPE_CHECKING:
    from vaetune.datasets.base import Dataset


@dataclass(frozen=True)
class Entry:
    """The module below `vaetune.datasets`, and what a name of the family carries after ":" (nothing for most).

    `training_images` is the size of the development split where the name alone tells it: checks may then refuse a
    split before anything is read.
    """

    module: str
    argument: str = ""
    training_images: int | None = None


CATALOGUE: dict[str, Entry] = {
    "fashion_mini": Entry("fashion_mini", training_images=5_000),
    "digits": Entry("digits", training_images=1_437),
    "mnist": Entry("mnist", training_images=60_000),
    "fashion_mnist": Entry("fashion_mnist", training_images=60_000),
    "cifar10": Entry("cifar10", training_images=50_000),
    "svhn": Entry("svhn", training_images=73_257),
    "usps": Entry("usps", training_images=7_291),
    "shapes": Entry("shapes", training_images=9_216),
    "four_points": Entry("four_points", training_images=1_024),
    "conjoint_toy": Entry("conjoint_toy", training_images=1_024),
    "binarized": Entry("binarized", "NAME"),
    "background": Entry("background", "KIND,NAME"),
    "rotated": Entry("rotated", "NAME"),
    "pairs": Entry("pairs", "NAME::NAME"),
    "drawn_faces": Entry("drawn_faces"),
    "folder": Entry("folder", "NAME[@SIZE][,grey]"),
    "celeba": Entry("celeba", "ATTRIBUTE[+…][@64|128][,grey]"),
    "imdb": Entry("imdb", "gender|age[@SIZE][,OPTION=…]"),
    "wiki": Entry("wiki", "gender|age[@SIZE][,OPTION=…]"),
}


def open_dataset(name: str, root: Path | None = None, download: bool = False) -> Dataset:
    """The dataset of that name, its files found but not yet read.

    `root` is searched before the other data roots (see `vaetune.datasets.roots`); nothing is fetched unless `download`.
    Raises `UserError` for an unknown name (with the near ones) and for missing data (with the ways to get it).
    """
    from vaetune.datasets.base import Request

    family, colon, argument = name.partition(":")
    if family not in CATALOGUE:
        raise unknown("dataset", family, CATALOGUE)
    entry = CATALOGUE[family]
    if bool(argument) != bool(entry.argument) or (colon and not entry.argument):
        form = f"{family}:{entry.argument}" if entry.argument else family
        raise UserError(f"dataset {name!r}: write {form}")
    module = importlib.import_module(f"vaetune.datasets.{entry.module}")
    opened: Dataset = module.dataset(Request(argument=argument, root=root, download=download))
    return opened
