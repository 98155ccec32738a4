"""A contact sheet: a few images of every class on one picture, to see with one's own eyes what a model is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaetune.datasets.base import Images
from vaetune.datasets.small import picture
from vaetune.datasets.splits import Index

_GAP, _NAMES = 2, 110  # pixels between images, and for the class names on the left
_SMALLEST = 48  # pixels: smaller images are enlarged by a whole factor, so that one pixel stays one square


def chosen(labels: NDArray[np.int64], classes: int, per_class: int, seed: int) -> Index:
    """`per_class` random indices of each class, or as many as there are."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(classes)])


def contact_sheet(images: Images, class_names: Sequence[str], per_class: int) -> Image.Image:
    """One row a class with the first `per_class` images of it, or as many as there are."""
    height, width = images.images.shape[2:]
    scale = -(-_SMALLEST // max(height, width))
    row, column = height * scale + _GAP, width * scale + _GAP
    sheet = Image.new("RGB", (_NAMES + per_class * column, len(class_names) * row), "white")
    draw = ImageDraw.Draw(sheet)
    for label, name in enumerate(class_names):
        draw.text((4, label * row + row // 2), name, fill="black", anchor="lm")
        members = np.flatnonzero(images.labels == label)[:per_class]
        for i, member in enumerate(members):
            sheet.paste(_picture(images.images[member], scale), (_NAMES + i * column, label * row))
    return sheet


def _picture(pixels: NDArray[np.uint8], scale: int) -> Image.Image:
    return picture(pixels.repeat(scale, axis=1).repeat(scale, axis=2))
