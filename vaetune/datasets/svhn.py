"""SVHN: 99,289 house numbers, one digit each (Netzer et al., *Reading Digits in Natural Images*, 2011); format 2.

The additional half million easy images ("extra") are left out, as in most published comparisons.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.published import File, Source, locate_published
from vaetune.errors import UserError

SUMMARY = "99,289 digits of house numbers, 32×32 RGB (73,257 + 26,032)"

SOURCE = Source(
    folders=("SVHN", "svhn", ""),  # torchvision's is whatever root it was given
    files=(
        File("train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
        File("test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3"),
    ),
    url="http://ufldl.stanford.edu/housenumbers/",
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Svhn(Dataset):
    """Two MATLAB files in `folder`."""

    source: Source
    folder: Path

    def development(self) -> Images:
        """The published training split."""
        return self._images(self.source.files[0])

    def sealed_test(self) -> Images:
        """The published test split."""
        return self._images(self.source.files[1])

    def _images(self, file: File) -> Images:
        return parse(file.read(self.folder), str(self.folder / file.name))


def dataset(request: Request) -> Dataset:
    """SVHN, found in a data root or fetched."""
    return opened(SOURCE, request, test_size=26_032)


def opened(source: Source, request: Request, test_size: int) -> Dataset:
    """The dataset whose files are those of `source`."""
    return Svhn(
        name="svhn",
        summary=SUMMARY,
        licence="for non-commercial use (its authors)",
        class_names=tuple("0123456789"),
        shape=(3, 32, 32),
        test_size=test_size,
        source=source,
        folder=locate_published("svhn", source, request),
    )


def parse(data: bytes, where: str) -> Images:
    """The images of one file, in which the label 10 means the digit 0; raises `UserError` that begins with `where`."""
    from scipy.io import loadmat  # type: ignore[import-untyped]
    from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]

    try:
        content = loadmat(io.BytesIO(data), variable_names=["X", "y"])
        pixels, labels = content["X"], content["y"].reshape(-1)
    except (MatReadError, LookupError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{where}: no MATLAB file with X and y ({error})") from error
    n = len(labels)
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, n) or not np.isin(labels, range(1, 11)).all():
        raise UserError(
            f"{where}: X is {pixels.dtype} {pixels.shape} with {n} labels, "
            "expected uint8 (32, 32, 3, N) and as many labels 1…10"
        )
    return Images(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels.astype(np.int64) % 10)
