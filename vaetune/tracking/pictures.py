"""Pictures of a model with a decoder: reconstructions, and traversals along its busiest latents, as uint8 [H, W, 3]."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaetune.models.decoding import Decoding, coded, decoded

Picture = NDArray[np.uint8]

SHOWN, STEPS = 8, 7


@torch.no_grad()
def reconstructions(model: Decoding, images: Tensor, labels: Tensor) -> Picture:
    """The first images [B, C, H, W] in [0, 1], of labels [B], each above the decoder's mean at its posterior mean."""
    shown, y = images[:SHOWN], labels[:SHOWN]
    return grid([list(shown), list(decoded(model, coded(model, shown, y).z, y))])


@torch.no_grad()
def traversals(model: Decoding, images: Tensor, labels: Tensor) -> Picture:
    """The first image decoded while one latent at a time goes over ±2 standard deviations of its μ in `images`.

    A row a latent, those whose μ varies most between images first; a conditional model is told the image's own label.
    """
    code = coded(model, images, labels)
    spread = code.z.std(0)
    busiest = spread.argsort(descending=True)[:SHOWN]
    z = code.z[0].repeat(len(busiest), STEPS, 1)
    for row, latent in enumerate(busiest):
        z[row, :, latent] = code.z[:, latent].mean() + torch.linspace(-2, 2, STEPS) * spread[latent]
    pictures = decoded(model, z.flatten(0, 1), labels[:1].expand(len(busiest) * STEPS))
    return grid(list(torch.split(pictures, STEPS)))


def grid(rows: list[list[Tensor]] | list[Tensor], gap: int = 1) -> Picture:
    """Images [C, H, W] in [0, 1] as one picture with grey gaps; of other channels than 1 or 3, side by side."""
    lines = [torch.cat([torch.nn.functional.pad(_flat(x), (0, gap, 0, gap), value=0.5) for x in r], -1) for r in rows]
    whole = torch.cat(lines, -2)[..., :-gap, :-gap].clamp(0, 1)
    pixels: Picture = (whole.expand(3, -1, -1).permute(1, 2, 0) * 255).round().byte().numpy(force=True)
    return pixels


def _flat(x: Tensor) -> Tensor:
    """An image [C, H, W] with 1 or 3 channels; a pair on the channels stands in a row."""
    return torch.cat(torch.split(x, 3 if len(x) % 3 == 0 else 1), -1)
