"""Drawn faces that smile or do not, as two small folders of JPEG files: what trains on photographs can be tried here.

Head, eyes and mouth vary in place, size and shade. The files are written once, below the first data root that can be
written to, and read as `folder:drawn_faces@32` reads them; another version of a JPEG library may decode another byte.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vaetune.datasets import folder
from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.roots import search_roots, writable_root
from vaetune.seeding import derive

SUMMARY = "600 drawn faces in JPEG files, smiling or not, 32x32 in colour (450 + 150); made on the spot"
NAME = "drawn_faces"
_CLASSES = ("serious", "smiling")
_SIZES = {"train": 450, "test": 150}
_SIDE = 48  # of the files, which are scaled down as photographs are


def dataset(request: Request) -> Dataset:
    """The folders as they lie in a data root, made if they are in none."""
    if not any((root / NAME / "test").is_dir() for root in search_roots(request.root)):
        _draw(writable_root(request.root) / NAME)
    found = folder.dataset(Request(argument=f"{NAME}@32", root=request.root, download=False))
    assert isinstance(found, folder.ImageFolder)
    return replace(found, name=NAME, summary=SUMMARY, licence="MIT, as vaetune")


def _draw(target: Path) -> None:
    """All files, in one step: another process that draws at the same time draws the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        for split, n in _SIZES.items():
            rng = np.random.default_rng(derive(f"{NAME} {split}"))
            for i in range(n):
                path = Path(made) / NAME / split / _CLASSES[i % 2] / f"{i:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                _face(rng, smiling=bool(i % 2), path=path)
        try:
            os.rename(Path(made) / NAME, target)
        except OSError:
            if not (target / "test").is_dir():
                raise


def _face(rng: np.random.Generator, smiling: bool, path: Path) -> None:
    from PIL import Image, ImageDraw

    behind, hair = (tuple(int(v) for v in rng.integers(0, 140, 3)) for _ in range(2))
    skin = tuple(int(v) for v in rng.integers(150, 256) * np.array([1.0, 0.82, 0.68]))
    image = Image.new("RGB", (_SIDE, _SIDE), behind)
    draw = ImageDraw.Draw(image)
    x, y = (int(v) for v in rng.integers(21, 28, 2))
    width, height = int(rng.integers(11, 15)), int(rng.integers(14, 18))
    draw.ellipse((x - width - 1, y - height - 3, x + width + 1, y + height - 4), fill=hair)
    draw.ellipse((x - width, y - height + 2, x + width, y + height), fill=skin)
    apart, eye = int(rng.integers(4, 7)), int(rng.integers(1, 3))
    for side in (-apart, apart):
        draw.ellipse((x + side - eye, y - 4 - eye, x + side + eye, y - 4 + eye), fill=(20, 20, 30))
    mouth, low = int(rng.integers(4, 8)), y + int(rng.integers(6, 9))
    red = (150, 40, 40)
    if smiling:
        draw.arc((x - mouth, low - 5, x + mouth, low + 3), 15, 165, fill=red, width=2)
    else:
        draw.line((x - mouth, low, x + mouth, low + int(rng.integers(-1, 2))), fill=red, width=2)
    image.save(path, quality=90)
