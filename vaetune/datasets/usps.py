"""USPS: 9,298 digits from envelopes (Hull, *A Database for Handwritten Text Recognition Research*, 1994).

From the LIBSVM collection, as in torchvision: a line an image, `label index:value …` with 256 values in [−1, 1].
"""

from __future__ import annotations

import bz2
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.published import File, Source, locate_published
from vaetune.errors import UserError

SUMMARY = "9,298 digits from envelopes, 16×16 grey (7,291 + 2,007)"
_PIXELS = 256

SOURCE = Source(
    folders=("USPS", "usps", ""),  # torchvision's is whatever root it was given
    files=(
        File("usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197"),
        File("usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118"),
    ),
    url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Usps(Dataset):
    """Two packed text files in `folder`; a value v is stored as round((v + 1) · 127.5)."""

    source: Source
    folder: Path

    def development(self) -> Images:
        """The published training split."""
        return self._images(self.source.files[0])

    def sealed_test(self) -> Images:
        """The published test split."""
        return self._images(self.source.files[1])

    def _images(self, file: File) -> Images:
        where = str(self.folder / file.name)
        try:
            text = bz2.decompress(file.read(self.folder)).decode("ascii")
        except (OSError, ValueError) as error:
            raise UserError(f"{where}: no packed text ({error}); delete it and fetch it again") from error
        return parse(text, where)


def dataset(request: Request) -> Dataset:
    """USPS, found in a data root or fetched."""
    return opened(SOURCE, request, test_size=2_007)


def opened(source: Source, request: Request, test_size: int) -> Dataset:
    """The dataset whose files are those of `source`."""
    return Usps(
        name="usps",
        summary=SUMMARY,
        licence="none stated by its authors",
        class_names=tuple("0123456789"),
        shape=(1, 16, 16),
        test_size=test_size,
        source=source,
        folder=locate_published("usps", source, request),
    )


def parse(text: str, where: str) -> Images:
    """The images of LIBSVM's text, in which the label 1 means the digit 0 and a value left out is 0.

    Raises `UserError` with the line that is wrong.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    values, labels = np.zeros((len(lines), _PIXELS)), np.zeros(len(lines), np.int64)
    for i, line in enumerate(lines):
        label, _, rest = line.strip().partition(" ")
        try:
            pairs = np.array(rest.replace(":", " ").split(), np.float64).reshape(-1, 2)
            labels[i] = int(label) - 1
        except (ValueError, OverflowError) as error:
            raise UserError(f"{where}, line {i + 1}: expected `label index:value …`, found {line[:40]!r}") from error
        places, found = pairs.T
        whole = np.equal(places, np.rint(places)).all() and (np.diff(places) > 0).all()
        if not (whole and ((places >= 1) & (places <= _PIXELS)).all() and (np.abs(found) <= 1).all()):
            raise UserError(f"{where}, line {i + 1}: expected rising places 1…{_PIXELS} and values in [-1, 1]")
        if not 0 <= labels[i] < 10:
            raise UserError(f"{where}, line {i + 1}: label {label}, expected 1…10")
        values[i, places.astype(np.int64) - 1] = found
    images = np.rint((values + 1) * 127.5).astype(np.uint8)
    return Images(images.reshape(-1, 1, 16, 16), labels)
