"""Pictures of what a decoder makes of a latent space. Each is a PIL image: `.save("it.png")`, and notebooks show it."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from vaetune.errors import UserError
from vaetune.latents.grids import grid
from vaetune.latents.subject import Subject
from vaetune.models.base import Generative
from vaetune.models.conjoint import Conjoint


def reconstructions(subject: Subject, n: int = 10, seed: int = 0) -> Image.Image:
    """The first `n` images: as they went in, decoded from the posterior mean, decoded from one draw of z."""
    rows, names = [subject.x(slice(n)), subject.reconstructions[:n]], ["input", "mean"]
    if subject.sigma is not None:
        z = subject.mu[:n] + subject.sigma[:n] * _normal(subject, n, seed)
        rows, names = [*rows, subject.decode(z, subject.labels[:n])], [*names, "sampled"]
    return grid(rows, names)


def prior_samples(subject: Subject, rows: int = 6, columns: int = 10, seed: int = 0) -> Image.Image:
    """Means of p(x|z) for z from N(0, I); where the model is told a label, the columns' labels take turns.

    Raises `UserError` for a model that nothing pulls towards N(0, I).
    """
    if subject.kl is None and not isinstance(subject.model, Generative):
        raise UserError(f"{subject.name} has no prior: its latent has neither noise nor a KL. class_grid needs none")
    z = _normal(subject, rows * columns, seed)
    told = torch.arange(rows * columns, device=z.device) % columns % subject.model.classes
    return grid(list(subject.decode(z, told).split(columns)))  # type: ignore[no-untyped-call]


def class_grid(subject: Subject, columns: int = 10, seed: int = 0) -> Image.Image:
    """A row a class: z from the normal distribution of the class's posterior means, latents taken as independent.

    A model that is told the label gets it, and z from the prior instead: its classes share one latent space.
    """
    rows, names = [], []
    told = isinstance(subject.model, Generative) and subject.model.conditional
    noise = _normal(subject, columns * subject.model.classes, seed).split(columns)  # type: ignore[no-untyped-call]
    for label, name in enumerate(subject.class_names):
        if told:
            z = noise[label]
        elif int((subject.labels == label).sum()) < 2:
            continue
        else:
            mean, std = subject.class_center(label)
            z = mean + std * noise[label]
        rows.append(subject.decode(z, label))
        names.append(name)
    return grid(rows, names)


def manifold(
    subject: Subject, axes: tuple[int, int] = (0, 1), n: int = 15, label: int | None = None, principal: bool = True
) -> Image.Image:
    """n×n decoded points of a plane, at the quantiles of a normal distribution, so that equal areas are as likely.

    With Z = 2 this is the whole space (Kingma & Welling 2014, fig. 4); else it is the plane of two principal axes, or
    of two latents by their rank by KL, through the mean of all codes, or of class `label`. Rightwards is the first
    axis, upwards the second.
    """
    if subject.latents < 2:
        raise UserError(f"{subject.name} has one latent: there is no plane to show; take traversals.traversals")
    found = subject.principal_axes if principal and subject.latents > 2 else subject.latent_axes
    u = (torch.arange(n, device=subject.mu.device) + 0.5) / n
    steps = torch.special.ndtri(u)
    across, up = torch.meshgrid(steps, steps.flip(0), indexing="xy")
    base = found.center if label is None else subject.class_center(label)[0]
    z = found.moved(base.expand(n * n, -1), {axes[0]: across.flatten(), axes[1]: up.flatten()})
    return grid(list(subject.decode(z, label).split(n)), gap=0)  # type: ignore[no-untyped-call]


def interpolations(subject: Subject, pairs: int = 6, steps: int = 9) -> Image.Image:
    """A row a pair: an image, what lies on the straight line between its mean and another's, the other image.

    The pairs are the first images of different classes where there are such.
    """
    here = list(range(len(subject)))
    rows: list[Tensor] = []
    while here and len(rows) < pairs:
        a = here.pop(0)
        b = next((i for i in here if subject.labels[i] != subject.labels[a]), here[0] if here else a)
        here = [i for i in here if i != b]
        t = torch.linspace(0, 1, steps, device=subject.mu.device).unsqueeze(1)
        z = torch.lerp(subject.mu[a], subject.mu[b], t)
        # A model that is told the label decodes the first half as the one class, the second as the other.
        told = torch.where(t.squeeze(1) < 0.5, subject.labels[a], subject.labels[b])
        rows.append(torch.cat((subject.x([a]), subject.decode(z, told), subject.x([b]))))
    return grid(rows)


def transfers(subject: Subject, pairs: int = 6, steps: int = 7) -> Image.Image:
    """A row an image of a conjoint model: the left image, its private part moving to another's, that other one.

    What both share (the digit, say) stays; what is the left image's own (its background) changes.
    """
    model = subject.model
    if not isinstance(model, Conjoint):
        raise UserError(f"{subject.name} is no conjoint model: nothing can be transferred")
    n = min(pairs, len(subject) // 2)
    x, source = subject.x(slice(n)), subject.x(slice(n, 2 * n))
    with torch.no_grad():
        moving = model.transfer(x, source, steps).clamp(0, 1)
    left = model.config.left_channels
    rows = [torch.stack([x[i, :left], *moving[:, i], source[i, :left]]) for i in range(n)]
    return grid(rows, titles=["image", *[""] * steps, "source"])


def _normal(subject: Subject, n: int, seed: int) -> Tensor:
    """Draws of N(0, 1) [n, Z], the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, subject.latents, generator=generator).to(subject.mu.device)
