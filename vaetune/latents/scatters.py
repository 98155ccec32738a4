"""Where the images lie in latent space: posterior means by class, in the plane, in pairs of axes, over training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes as Panel
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import gaussian_kde  # type: ignore[import-untyped]
from torch import Tensor

from vaetune.errors import UserError
from vaetune.latents.axes import Axes
from vaetune.latents.grids import Animation
from vaetune.latents.subject import Subject

_INK, _FAINT = "#3D434D", "#DDE0E4"
_LEGEND = 12  # classes that are named one by one


def colors(classes: int) -> list[str]:
    """A colour a class, as #rrggbb."""
    maps = colormaps["tab10" if classes <= 10 else "tab20" if classes <= 20 else "turbo"]
    spaced = range(classes) if classes <= 20 else np.linspace(0, 1, classes)
    return ["#" + "".join(f"{round(255 * part):02x}" for part in maps(i)[:3]) for i in spaced]


def scatter(subject: Subject) -> Image.Image:
    """Posterior means by class: the space itself where Z = 2, else its first two principal axes."""
    axes = plane(subject)
    figure, panel = _figure()
    _dots(panel, axes.coordinates(subject.mu)[:, :2].numpy(force=True), subject)
    _named(panel, axes)
    panel.set_title(subject.name, color=_INK, fontsize=11)
    _legend(figure, subject)
    return _image(figure)


def plane(subject: Subject) -> Axes:
    """Two axes to draw on; raises `UserError` where the latent space has but one."""
    if subject.latents < 2:
        raise UserError(f"{subject.name} has one latent: there is no plane to show")
    return subject.latent_axes if subject.latents == 2 else subject.principal_axes


def scatter_matrix(subject: Subject, axes: Sequence[int] = (0, 1, 2, 3), principal: bool = True) -> Image.Image:
    """Every pair of the chosen axes, what each explains in its name; on the diagonal each class's distribution."""
    found = subject.principal_axes if principal else subject.latent_axes
    chosen = [axis for axis in axes if axis < len(found)]
    at = found.coordinates(subject.mu).numpy(force=True)
    n = len(chosen)
    figure = Figure(figsize=(1.2 + 1.9 * n, 0.6 + 1.9 * n), layout="constrained")
    panels = figure.subplots(n, n, squeeze=False)
    for r, row in enumerate(chosen):
        for c, column in enumerate(chosen):
            panel = panels[r, c]
            _plain(panel)
            if r == c:
                _densities(panel, at[:, row], subject)
            else:
                _dots(panel, at[:, [column, row]], subject, size=4)
            if r == n - 1:
                panel.set_xlabel(found.label(column, "\n"), fontsize=8)
            if c == 0:
                panel.set_ylabel(found.label(row, "\n"), fontsize=8)
    _legend(figure, subject)
    return _image(figure)


def over_training(subject: Subject, states: Iterable[tuple[int, Mapping[str, Tensor]]]) -> Animation:
    """Where the same images lie after each stored epoch, on the axes of the last one.

    `states` are epochs with the model's weights then, as `Pulled.states()` has them; the subject's own stay untouched.
    """

    model = copy.deepcopy(subject.model)
    at: list[tuple[int, Tensor]] = []
    for epoch, weights in states:
        model.load_state_dict(weights)
        then = Subject(subject.name, model, subject.images, subject.labels, subject.class_names)
        at.append((epoch, then.mu))
        last = then
    if len(at) < 2:
        raise UserError(
            f"{subject.name} kept {len(at)} states of its training: states are kept of replicate 0 of arms with a "
            "decoder, in studies of this version"
        )
    axes = plane(last)
    moved = [(epoch, axes.coordinates(mu)[:, :2].numpy(force=True)) for epoch, mu in at]
    low = np.min([xy.min(0) for _, xy in moved], 0)
    high = np.max([xy.max(0) for _, xy in moved], 0)
    frames = []
    for epoch, xy in moved:
        figure, panel = _figure()
        _dots(panel, xy, subject)
        _named(panel, axes)
        margin = 0.05 * (high - low)
        panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
        panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
        panel.set_title(f"{subject.name} · epoch {epoch}", color=_INK, fontsize=11)
        _legend(figure, subject)
        frames.append(_image(figure))
    return Animation((*frames, *[frames[-1]] * 2), 500)


def _figure() -> tuple[Figure, Panel]:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    panel = figure.subplots()
    _plain(panel)
    return figure, panel


def _named(panel: Panel, axes: Axes) -> None:
    panel.set_xlabel(axes.label(0))
    panel.set_ylabel(axes.label(1))


def _plain(panel: Panel) -> None:
    panel.xaxis.label.set_color(_INK)
    panel.yaxis.label.set_color(_INK)
    panel.tick_params(colors=_INK, labelsize=7, length=0)
    panel.grid(color=_FAINT, linewidth=0.6)
    panel.set_axisbelow(True)
    for side in panel.spines.values():
        side.set_visible(False)


def _dots(panel: Panel, at: NDArray[np.float32], subject: Subject, size: float = 9) -> None:
    labels = subject.labels.numpy(force=True)
    palette = np.array(colors(len(subject.class_names)))
    panel.scatter(at[:, 0], at[:, 1], s=size, c=palette[labels], linewidths=0, alpha=0.8)


def _densities(panel: Panel, at: NDArray[np.float32], subject: Subject) -> None:
    labels = subject.labels.numpy(force=True)
    x = np.linspace(at.min(), at.max(), 200)
    for label, color in enumerate(colors(len(subject.class_names))):
        own = at[labels == label]
        if len(own) > 1 and np.ptp(own) > 0:  # of a single place there is no density
            density = gaussian_kde(own)(x)
            panel.plot(x, density, color=color, linewidth=1.2)
            panel.fill_between(x, density, color=color, linewidth=0, alpha=0.12)
    panel.set_ylim(bottom=0)
    panel.set_yticks([])


def _legend(figure: Figure, subject: Subject) -> None:
    names = subject.class_names
    if len(names) > _LEGEND:
        return
    for name, color in zip(names, colors(len(names)), strict=True):
        figure.gca().scatter([], [], s=18, c=color, label=name)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=_INK)


def _image(figure: Figure) -> Image.Image:
    figure.set_dpi(110)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())  # type: ignore[no-untyped-call]
