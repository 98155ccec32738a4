"""scikit-learn's digits: 1,797 handwritten digits of 8×8 pixels, the test part of the UCI set (Alpaydin, Kaynak 1998).

Read from the file that scikit-learn ships, without importing scikit-learn, which takes seconds.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.splits import split
from vaetune.errors import UserError

SUMMARY = "1,797 handwritten digits, 8×8 grey (1,437 + 360); part of scikit-learn"
_FILE = "datasets/data/digits.csv.gz"
_ROWS, _PIXELS, _LEVELS = 1_797, 64, 16
_N_TEST = 360
_TEST_SEED = 1797  # the test split is a fact of this dataset: changing it breaks every stored result


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Digits(Dataset):
    """Levels 0…16 stored as round(level · 255 / 16), from which round(value · 16 / 255) gets them back exactly."""

    path: Path

    def development(self) -> Images:
        """1,437 images: all that are not of the test split."""
        return self._part(0)

    def sealed_test(self) -> Images:
        """360 stratified images, the same for ever."""
        return self._part(1)

    def _part(self, which: int) -> Images:
        table = _read(self.path)
        images = np.rint(table[:, :_PIXELS] * (255 / _LEVELS)).astype(np.uint8).reshape(-1, 1, 8, 8)
        labels = table[:, _PIXELS].astype(np.int64)
        chosen = np.sort(split(labels, _N_TEST, None, _TEST_SEED)[which])
        return Images(images[chosen], labels[chosen])


def dataset(_request: Request) -> Dataset:
    """The set in the installed scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    places = [Path(place) / _FILE for place in (spec and spec.submodule_search_locations) or ()]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = ", ".join(map(str, places)) or "scikit-learn is not installed"
        raise UserError(f"the data of 'digits' was not found ({looked}): install scikit-learn 1.5 or later")
    return Digits(
        name="digits",
        summary=SUMMARY,
        licence="CC BY 4.0 (UCI); shipped by scikit-learn under BSD-3-Clause",
        class_names=tuple("0123456789"),
        shape=(1, 8, 8),
        test_size=_N_TEST,
        path=path,
    )


def _read(path: Path) -> NDArray[np.float64]:
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float64, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path}: unreadable ({error}); install scikit-learn again") from error
    pixels, labels = table[:, :-1], table[:, -1]
    whole = bool(np.all(table == np.rint(table))) and table.shape == (_ROWS, _PIXELS + 1)
    if not whole or pixels.min() < 0 or pixels.max() > _LEVELS or set(labels) != set(range(10)):
        raise UserError(
            f"{path}: expected {_ROWS} rows of {_PIXELS} levels 0…{_LEVELS} and a digit, found {table.shape}"
        )
    return table
