"""IMDB-WIKI: faces of the two sites with birth and photo dates (Rothe, Timofte, Van Gool, IJCV 2018).

`wiki:gender` or `imdb:age` and so on, with options behind commas:

    @SIZE               pixels (64)
    bins=A-B-…          first ages of the bins but the lowest (20-30-40-50-60)
    min_score=S         the detector's score that a face must reach (1.0)
    second=none|any|S   images with a second face: none, any, or those whose second face scores at most S (none)
    test=SHARE          the share of people in the test split (0.2)
    grey                one channel

The official layout: `wiki_crop/wiki.mat` or `imdb_crop/imdb.mat` in a data root, with the folders of images beside it.
The sets have no official splits. People are divided, not images: whoever is in the test split is in no other, and
whoever is where depends on the person alone, so that more images or other filters move nobody.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import options, published
from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.imdb_wiki_metadata import Metadata, cached
from vaetune.datasets.prepared import Item, PreparedDataset, Recipe, Split
from vaetune.errors import UserError, unknown

FORM = "gender|age[@SIZE][,OPTION=…][,grey]"
_DEFAULTS = {"bins": "20-30-40-50-60", "min_score": "1.0", "second": "none", "test": "0.2"}
_AGES = (0, 100)  # a date is wrong where it makes a person younger or older
_SIZE = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Which rows are used, and what they are labelled by; `second` None: none with a second face."""

    target: str
    bins: tuple[int, ...]
    min_score: float
    second: float | None
    test: float

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        if self.target == "gender":
            return ("female", "male")
        first, last = self.bins[0], self.bins[-1]
        between = [f"{low} to {high - 1}" for low, high in zip(self.bins, self.bins[1:], strict=False)]
        return (f"under {first}", *between, f"{last} and over")

    def usable(self, rows: Metadata) -> tuple[NDArray[np.bool_], Counter[str]]:
        """Which rows are used, and why the others are not, each counted for the first reason that holds."""
        reasons = {
            "without a gender": np.isnan(rows.gender) & (self.target == "gender"),
            "without a date of birth or photo": np.isnan(rows.age) & (self.target == "age"),
            f"with an age outside {_AGES[0]} to {_AGES[1]}": (
                ((rows.age < _AGES[0]) | (rows.age > _AGES[1])) & (self.target == "age")
            ),
            "without a face": ~np.isfinite(rows.face_score),
            f"with a face that scores below {self.min_score:g}": ~(rows.face_score >= self.min_score),
            "with a second face": (
                ~np.isnan(rows.second_face_score) if self.second is None else rows.second_face_score > self.second
            ),
        }
        kept, dropped = np.ones(len(rows.age), np.bool_), Counter[str]()
        for reason, applies in reasons.items():
            if count := int((kept & applies).sum()):
                dropped[reason] = count
            kept &= ~applies
        return kept, dropped

    def labels(self, rows: Metadata) -> NDArray[np.int64]:
        """Of rows that are all usable."""
        if self.target == "gender":
            return rows.gender.astype(np.int64)
        return np.searchsorted(np.array(self.bins), rows.age, side="right").astype(np.int64)

    def in_test(self, rows: Metadata) -> NDArray[np.bool_]:
        """Whether each row's person is in the test split."""
        people, which = np.unique(rows.person, return_inverse=True)
        return np.array([_fraction(person) < self.test for person in people.tolist()], np.bool_)[which]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ImdbWiki(PreparedDataset):
    """One of the two sites."""

    folder: Path
    choice: Choice
    rows: Metadata

    def recipe(self, split: Split) -> Recipe:
        """The usable images of the split that exist."""
        from vaetune.datasets.decode import Decoder

        kept, _ = self.choice.usable(self.rows)
        kept &= self.choice.in_test(self.rows) == (split == "test")
        rows = self.rows.of(kept)
        person = np.unique(self.rows.person, return_inverse=True)[1][kept]  # the same numbers in both splits
        site = self.name.partition(":")[0]
        folders = sorted({path.rpartition("/")[0] for path in rows.path.tolist()})
        return Recipe(
            name=site,
            split=split,
            source=self.folder,
            listing=lambda: _items(self.folder, rows, person, self.choice),
            shape=self.shape,
            options={"choice": repr(self.choice)},
            decode=Decoder(self.shape, crop=True),
            watched=(self.folder / f"{site}.mat", *(self.folder / name for name in folders)),
        )


def opened(site: str, summary: str, request: Request) -> Dataset:
    """The dataset of one site in a data root; its metadata are read once and kept in a file of their own."""
    argument = options.parse(site, request.argument, FORM, _DEFAULTS)
    choice = _choice(site, argument)
    size = argument.size or _SIZE
    mat = f"{site}.mat"
    folder = locate(site, request)
    rows = cached(folder / mat, site, request.root)
    kept, dropped = choice.usable(rows)
    left_out = "".join(f", {count:,} {reason}" for reason, count in dropped.items())
    test = kept & choice.in_test(rows)
    if not test.any() or not (kept & ~test).any():
        raise UserError(f"{folder / mat}: of {len(kept)} rows {int(kept.sum())} are usable, too few for two splits")
    return ImdbWiki(
        name=f"{site}:{request.argument}",
        summary=f"{summary}; by {choice.target}; {int(kept.sum()):,} of {len(kept):,} rows are used{left_out}",
        licence="for academic research only (its authors)",
        class_names=choice.class_names,
        shape=(1 if argument.grey else 3, size, size),
        test_size=_existing(folder, rows.of(test).path),
        folder=folder,
        choice=choice,
        rows=rows,
        root=request.root,
    )


def locate(site: str, request: Request) -> Path:
    """Where the metadata and the folders of images lie; raises `UserError` if that is nowhere."""
    mat = f"{site}.mat"
    return published.locate(
        f"{site}:{request.argument}",
        request,
        folders=(f"{site}_crop",),
        expected=[mat, "00/*.jpg …"],
        absent=lambda folder: [] if (folder / mat).is_file() else [mat],
        ways=(
            f"curl https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static/{site}_crop.tar | tar -xC {{root}}"
            "  (for research only)",
        ),
    )


def _choice(site: str, argument: options.Options) -> Choice:
    if argument.target not in ("gender", "age"):
        raise unknown(f"target of {site}", argument.target, ("gender", "age"))
    text = dict(argument.values)
    try:
        bins = tuple(int(age) for age in text["bins"].split("-"))
        min_score, test = float(text["min_score"]), float(text["test"])
        named = {"none": None, "any": np.inf}
        second = named[text["second"]] if text["second"] in named else float(text["second"])
    except ValueError as error:
        raise UserError(f"dataset {site}: {error} in {text}") from error
    if list(bins) != sorted(set(bins)) or not 0 < bins[0] <= bins[-1] <= _AGES[1]:
        raise UserError(f"dataset {site}: bins={text['bins']}: expected rising ages such as {_DEFAULTS['bins']}")
    if not 0 < test < 1:
        raise UserError(f"dataset {site}: test={text['test']}: expected a share between 0 and 1")
    return Choice(argument.target, bins, min_score, second, test)


def _items(folder: Path, rows: Metadata, person: NDArray[np.int64], choice: Choice) -> list[Item]:
    items = []
    columns = zip(rows.path.tolist(), choice.labels(rows).tolist(), person.tolist(), strict=True)
    for path, label, group in columns:
        try:
            status = (folder / path).stat()
        except FileNotFoundError:
            continue
        items.append(Item(path, label, status.st_size, status.st_mtime_ns, group))
    if missing := len(rows.path) - len(items):
        _log.warning("%s: %d of %d usable images are missing", folder, missing, len(rows.path))
    if not items:
        raise UserError(f"{folder}: none of its {len(rows.path)} usable images is there")
    return items


def _existing(folder: Path, paths: NDArray[np.str_]) -> int:
    """How many of the paths exist, by listing their folders."""
    names = {path.rpartition("/")[0] for path in paths.tolist()}
    exist = {f"{name}/{file}" for name in names if (folder / name).is_dir() for file in os.listdir(folder / name)}
    return sum(path in exist for path in paths.tolist())


def _fraction(person: str) -> float:
    """A number in [0, 1) that is the person's own."""
    return int.from_bytes(hashlib.sha256(f"imdb_wiki test {person}".encode()).digest()[:8], "big") / 2**64
