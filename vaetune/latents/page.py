"""explorer.html: the latent space of a study's models as one file, with all that is decoded computed in advance."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaetune.latents.axes import Axes
from vaetune.latents.grids import pixels
from vaetune.latents.scatters import colors, plane
from vaetune.latents.subject import Subject

CELLS, REACH = 15, 3.0
"""Decoded points along each side of a plane, and how many σ it reaches from its center."""

_NEIGHBOURS = 6
_BYTES = 1_200_000  # of the images of one sheet before compression: a file must stay one that can be sent around


def write(title: str, subjects: Sequence[Subject]) -> str:
    """The page as HTML. Everything from outside is escaped, and the page's policy forbids loading anything.

    Of each subject, which must decode: up to two planes of its principal axes, each a grid of decoded points under the
    images' means; every image with its reconstruction, class probabilities and nearest neighbours.
    """
    models = [_model(subject) for subject in subjects]
    data = json.dumps({"title": title, "cells": CELLS, "reach": REACH, "models": models}, allow_nan=False)
    template = files("vaetune.latents").joinpath("explorer.html").read_text(encoding="utf-8")
    return template.replace("{{title}}", escape(title)).replace("{{data}}", data.replace("<", "\\u003c"))


@torch.no_grad()
def _model(subject: Subject) -> dict[str, Any]:
    size = math.prod(subject.images.shape[1:])
    n = min(len(subject), max(20, _BYTES // size))
    axes = plane(subject)
    pairs = [(0, 1)] if len(axes) < 4 else [(0, 1), (2, 3)]
    at = axes.coordinates(subject.mu[:n])
    probabilities = subject.probabilities
    return {
        "name": subject.name,
        "classes": list(subject.class_names),
        "colors": colors(len(subject.class_names)),
        "labels": subject.labels[:n].tolist(),
        "inputs": _sheet(subject.x(slice(n))),
        "reconstructions": _sheet(subject.reconstructions[:n]),
        "probabilities": None if probabilities is None else _rounded(probabilities[:n]),
        "neighbours": [_nearest(subject, i, n) for i in range(n)],
        "planes": [_plane(subject, axes, pair, at) for pair in pairs],
    }


def _plane(subject: Subject, axes: Axes, pair: tuple[int, int], at: Tensor) -> dict[str, Any]:
    """Two axes in units of their spread: where the images lie, and what is decoded at each cell, top row first.

    A model that decodes with a label gets the first class, which `told` says.
    """
    label = 0 if subject.conditional else None
    steps = torch.linspace(-REACH, REACH, CELLS, device=subject.mu.device)
    across, up = torch.meshgrid(steps, steps.flip(0), indexing="xy")
    z = axes.moved(axes.center.expand(CELLS * CELLS, -1), {pair[0]: across.flatten(), pair[1]: up.flatten()})
    unit = axes.spread[list(pair)].clamp_min(torch.finfo(at.dtype).tiny)
    return {
        "axes": [axes.label(axis) for axis in pair],
        "points": _rounded(at[:, list(pair)] / unit),
        "decoded": _sheet(subject.decode(z, label), CELLS),
        "told": "" if label is None else subject.class_names[label],
    }


def _nearest(subject: Subject, index: int, n: int) -> list[int]:
    """Among the first n, which are those that the page has."""
    return [int(i) for i in subject.neighbours(index, len(subject) - 1).tolist() if i < n][:_NEIGHBOURS]


def _sheet(images: Tensor, columns: int = 20) -> dict[str, Any]:
    """Images [N, C, H, W] side by side as one PNG, with the size of a tile."""
    tiles = [pixels(image) for image in images]
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, tile in enumerate(tiles):
        r, c = divmod(i, columns)
        sheet[r * height : (r + 1) * height, c * width : (c + 1) * width] = tile
    grey = bool((sheet == sheet[..., :1]).all())
    out = io.BytesIO()
    Image.fromarray(sheet[..., 0] if grey else sheet).save(out, "PNG", optimize=True)
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"url": url, "columns": columns, "width": width, "height": height}


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(v, 3) for v in row] for row in values.double().tolist()]
