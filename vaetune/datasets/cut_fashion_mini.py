"""Cuts `fashion_mini` out of Fashion-MNIST: `python -m vaetune.datasets.cut_fashion_mini DATA_ROOT [TARGET]`.

Deterministic: the same source gives the same bytes again (gzip carries no time and no name; the compressed bytes may
differ under another zlib, the unpacked ones never). Writes the IDX files and the table of checksums for PROVENANCE.md.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import fashion_mnist, idx
from vaetune.datasets.base import Images, Request
from vaetune.datasets.fashion_mini import FOLDER, TEST_FILES, TEST_LABELS, TRAIN_FILES, TRAIN_LABELS
from vaetune.datasets.splits import split

IMAGES, SEED = 5_000, 0


def cut(root: Path, target: Path) -> list[tuple[str, int, str, str]]:
    """Writes the files into `target`; returns each one's name, size, SHA-256 packed and SHA-256 unpacked."""
    source = fashion_mnist.dataset(Request(root=root))
    whole, test = source.development(), source.sealed_test()
    chosen = np.sort(split(whole.labels, 0, IMAGES, SEED)[0])
    train = Images(whole.images[chosen], whole.labels[chosen])
    arrays: dict[str, NDArray[np.uint8]] = {
        TRAIN_LABELS: train.labels.astype(np.uint8),
        TEST_LABELS: test.labels.astype(np.uint8),
    }
    for names, images in ((TRAIN_FILES, train.images), (TEST_FILES, test.images)):
        arrays |= dict(zip(names, np.split(images[:, 0], len(names)), strict=True))
    target.mkdir(parents=True, exist_ok=True)
    return [_write(target / name, array) for name, array in sorted(arrays.items())]


def _write(path: Path, array: NDArray[np.uint8]) -> tuple[str, int, str, str]:
    plain = idx.encode(array)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        stream.write(plain)
    path.write_bytes(packed.getvalue())
    return path.name, len(packed.getvalue()), _sha256(packed.getvalue()), _sha256(plain)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Cuts the set and prints the checksums as the rows of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m vaetune.datasets.cut_fashion_mini")
    parser.add_argument("root", type=Path, help="data root that holds FashionMNIST/raw")
    parser.add_argument(
        "target", type=Path, nargs="?", default=FOLDER, help="folder to write to (default: the package)"
    )
    options = parser.parse_args(arguments)
    for name, size, packed, plain in cut(options.root, options.target):
        print(f"| {name} | {size:,} | {packed} | {plain} |")


if __name__ == "__main__":
    main()
