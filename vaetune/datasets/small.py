"""A small set for trying things: a few images of a dataset, with their labels, groups and pixels, or as a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.datasets.base import Dataset, Images
from vaetune.datasets.prepared import PreparedDataset, find
from vaetune.datasets.roots import search_roots
from vaetune.datasets.splits import Index, split
from vaetune.errors import UserError

Choose = Callable[[NDArray[np.int64], NDArray[np.int64] | None], Index]
_TEST = 0.2  # of a small set's images


def some(dataset: Dataset, choose: Choose) -> Images:
    """The development images that `choose`, given all labels and groups, names; no others are decoded for it."""
    if not isinstance(dataset, PreparedDataset):
        return _rows(dataset.development(), choose)
    recipe = dataset.recipe("development")
    prepared = find(recipe, search_roots(dataset.root))
    if prepared is not None:
        return _rows(prepared, choose)
    labels, groups = (np.array([getattr(i, name) for i in recipe.items], np.int64) for name in ("label", "group"))
    chosen = choose(labels, groups if (groups >= 0).any() else None)
    images = np.empty((len(chosen), *recipe.shape), np.uint8)
    for row, i in enumerate(chosen.tolist()):
        images[row] = recipe.decode(recipe.source / recipe.items[i].path)
    return Images(images, labels[chosen], groups[chosen])


def write_folder(dataset: Dataset, folder: Path, n: int, seed: int) -> tuple[int, int]:
    """Writes n development images as a tree that `folder:NAME` reads; returns the sizes of its two splits.

    Classes are in proportion. Its test split comes from the development images too, with other people than its
    training split: the sealed test split is not touched.
    Raises `UserError` if there is something at `folder`, or not enough images.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there is something here already; choose a new folder")
    sizes = (n - round(_TEST * n), round(_TEST * n))

    def choose(labels: NDArray[np.int64], groups: NDArray[np.int64] | None) -> Index:
        train, test = split(labels, sizes[1], sizes[0], seed, groups)
        return np.concatenate([train, test])

    images = some(dataset, choose)
    width = len(str(len(images)))
    try:
        for part, rows in (("train", range(sizes[0])), ("test", range(sizes[0], n))):
            for label, name in enumerate(dataset.class_names):  # numbered, so that the classes keep their order
                (folder / part / _folder_name(label, name, dataset.classes)).mkdir(parents=True, exist_ok=True)
            for row in rows:
                label = int(images.labels[row])
                place = folder / part / _folder_name(label, dataset.class_names[label], dataset.classes)
                picture(images.images[row]).save(place / f"{row:0{width}d}.png")
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error
    return sizes


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """uint8 [C, H, W] with 1 or 3 channels; of other numbers the first is shown."""
    return Image.fromarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0])


def _rows(images: Images, choose: Choose) -> Images:
    chosen = choose(images.labels, images.groups)
    groups = None if images.groups is None else images.groups[chosen]
    return Images(np.ascontiguousarray(images.images[chosen]), images.labels[chosen], groups)


def _folder_name(label: int, name: str, classes: int) -> str:
    return f"{label:0{len(str(classes - 1))}d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}"
