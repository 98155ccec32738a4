"""One latent after the other on its way through the space: as a grid, or moving."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from vaetune.latents.axes import Axes
from vaetune.latents.grids import Animation, grid, sigmas, stacked
from vaetune.latents.subject import Subject

_FRAMES = 24


def traversals(
    subject: Subject, index: int = 0, reach: float = 2.5, steps: int = 11, most: int = 10, principal: bool = False
) -> Image.Image:
    """Image `index` decoded while one axis at a time goes from −reach to +reach σ around its mean; a row an axis.

    σ is the standard deviation of the posterior means along the axis. Latents come by falling KL, principal axes by
    falling variance, `most` of them.
    """
    axes = subject.principal_axes if principal else subject.latent_axes
    shown = range(min(most, len(axes)))
    k = torch.linspace(-reach, reach, steps, device=subject.mu.device)
    rows = [_along(subject, axes, axis, index, k) for axis in shown]
    return grid(rows, [axes.label(axis) for axis in shown], [sigmas(step) for step in k.tolist()])


def moving(subject: Subject, index: int = 0, reach: float = 2.5, most: int = 24, principal: bool = False) -> Animation:
    """The same as an animation: all axes at once in one picture, each moving by itself, there and back.

    The title says how many σ from its mean every axis is.
    """
    axes = subject.principal_axes if principal else subject.latent_axes
    shown = range(min(most, len(axes)))
    k = reach * torch.sin(torch.linspace(0, 2 * torch.pi, _FRAMES + 1, device=subject.mu.device)[:-1])
    along = [_along(subject, axes, axis, index, k) for axis in shown]
    columns = min(8, len(along))
    lines = [along[i : i + columns] for i in range(0, len(along), columns)]
    titles = [[axes.names[axis] for axis in shown][i : i + columns] for i in range(0, len(along), columns)]
    frames = []
    for frame in range(_FRAMES):
        parts = [grid([[a[frame] for a in line]], titles=names) for line, names in zip(lines, titles, strict=True)]
        frames.append(stacked(parts, sigmas(float(k[frame]))))
    return Animation(tuple(frames), 90)


def _along(subject: Subject, axes: Axes, axis: int, index: int, k: Tensor) -> Tensor:
    """Image `index` with its coordinate on that axis at k spreads from the centre: [len(k), C, H, W]."""
    here = subject.mu[index]
    home = here - axes.coordinates(here.unsqueeze(0))[0, axis] * axes.directions[axis]
    return subject.decode(axes.moved(home.expand(len(k), -1), {axis: k}), int(subject.labels[index]))
