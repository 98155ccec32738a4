"""Pictures of what a decoder makes of a latent space. Each is a PIL image: `.save("it.png")`, and notebooks show it."""

from __future__ import annotations

from dataclasses import replace

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
    told = torch.arange(columns, device=z.device) % subject.model.classes
    titles = [subject.class_names[label] for label in told.tolist()] if subject.conditional else []
    return grid(list(subject.decode(z, told.repeat(rows)).split(columns)), titles=titles)  # type: ignore[no-untyped-call]


def class_grid(subject: Subject, columns: int = 10, seed: int = 0) -> Image.Image:
    """A row a class: z from the normal distribution of the class's posterior means, latents taken as independent.

    A model that is told the label gets it, and z from the prior instead: its classes share one latent space.
    """
    rows, names = [], []
    noise = _normal(subject, columns * subject.model.classes, seed).split(columns)  # type: ignore[no-untyped-call]
    for label, name in enumerate(subject.class_names):
        if subject.conditional:
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
    subject: Subject,
    axes: tuple[int, int] = (0, 1),
    n: int = 15,
    label: int | None = None,
    principal: bool = True,
    prior: bool = False,
) -> Image.Image:
    """n×n decoded points of a plane, at the quantiles of a normal distribution, so that equal areas are as likely.

    The distribution is that of the codes: their mean, or that of class `label`, and their spread along each axis. With
    `prior` it is N(0, I) over two latents; for Z = 2 that is figure 4 of Kingma & Welling (2014). With Z > 2 the plane
    is of two principal axes, or of two latents by their rank by KL, and the other coordinates stay at the mean.
    Rightwards is the first axis, upwards the second, marked by their quantiles in per cent. A model that decodes with a
    label needs `label`.
    """
    if subject.latents < 2:
        raise UserError(f"{subject.name} has one latent: there is no plane to show; take traversals.traversals")
    if subject.conditional and label is None:
        raise UserError(f"{subject.name} decodes with a label: give manifold the one to decode with")
    found = subject.principal_axes if principal and not prior and subject.latents > 2 else subject.latent_axes
    if prior:
        found = replace(found, center=torch.zeros_like(found.center), spread=torch.ones_like(found.spread))
    u = (torch.arange(n, device=subject.mu.device) + 0.5) / n
    steps = torch.special.ndtri(u)
    across, up = torch.meshgrid(steps, steps.flip(0), indexing="xy")
    base = found.center if label is None or prior else subject.class_center(label)[0]
    z = found.moved(base.expand(n * n, -1), {axes[0]: across.flatten(), axes[1]: up.flatten()})
    percents = [f"{100 * each:.0f} %" for each in u.tolist()]
    corner = f"{found.names[axes[1]]} ↑  {found.names[axes[0]]} →"
    rows = subject.decode(z, label).split(n)  # type: ignore[no-untyped-call]
    return grid(list(rows), percents[::-1], percents, gap=0, corner=corner)


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
    return grid(rows, titles=["image", *(f"{step:.3g}" for step in torch.linspace(0, 1, steps).tolist()), "image"])


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
