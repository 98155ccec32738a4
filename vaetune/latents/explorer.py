"""The latent space of a study's models in a notebook: scatter matrix, clicked images, sliders that decode live."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import torch

from vaetune.errors import UserError
from vaetune.latents.axes import Axes
from vaetune.latents.grids import grid, png
from vaetune.latents.matrix import Matrix
from vaetune.latents.scatters import colors
from vaetune.latents.subject import Subject

SLIDERS, REACH = 8, 3.0
_ALL = "all images"
_CLICKED = "the clicked image"


class Explorer:
    """Widgets for one or more models: the last line of a notebook's cell shows them.

    `models` maps a name to what makes the subject, which is made when it is first chosen:
    `Explorer({m.id: m.subject for m in vaetune.load_all(…)})`. Needs ipywidgets and anywidget (`vaetune[explorer]`).
    Every model must decode. Sliders move from the chosen origin in units of σ: of all codes, or of the class's own.
    """

    def __init__(self, models: Mapping[str, Callable[[], Subject]]) -> None:
        try:
            import ipywidgets as w
        except ImportError as error:
            raise UserError("the explorer needs ipywidgets and anywidget: pip install 'vaetune[explorer]'") from error
        if not models:
            raise UserError("there is no model to explore: did load_all's `where` match any?")
        self._makers, self._made = dict(models), dict[str, Subject]()
        self.picker = w.Dropdown(options=list(models), description="model")
        self.kind = w.ToggleButtons(options=["principal axes", "latents"], style={"button_width": "auto"})
        self.components = w.SelectMultiple(rows=10, description="axes")
        self.origin = w.Dropdown(options=[_ALL], description="from")
        self.sliders = [
            w.FloatSlider(0.0, min=-REACH, max=REACH, step=0.1, readout_format="+.1f", continuous_update=True)
            for _ in range(SLIDERS)
        ]
        self.reset = w.Button(description="back to the origin")
        # As large as they are: a box would stretch them.
        self.decoded, self.image, self.neighbours = (
            w.Image(format="png", layout={"align_self": "flex-start"}) for _ in range(3)
        )
        self.said, self.took, self.legend, self.unit = (w.HTML() for _ in range(4))
        self.matrix = Matrix(self._clicked)
        self.clicked = 0
        for widget in (self.picker, self.kind):
            widget.observe(lambda _: self._choose(), "value")
        self.components.observe(lambda _: self._draw(), "value")
        self.origin.observe(lambda _: self._reset(), "value")
        for slider in self.sliders:
            slider.observe(lambda _: self._decode(), "value")
        self.reset.on_click(lambda _: self._reset())
        clicked = w.VBox([self.image, self.said, w.HTML("<b>nearest codes</b>"), self.neighbours])
        moved = w.VBox([self.decoded, self.took])
        self.widget = w.VBox(
            [
                w.HBox([self.picker, self.kind]),
                w.HBox([self.components, w.VBox([self.matrix.figure, self.legend]), clicked]),
                w.HBox([w.VBox([self.origin, self.unit, *self.sliders, self.reset]), moved]),
            ]
        )
        self._choose()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    @property
    def subject(self) -> Subject:
        """The chosen model with its images."""
        name = self.picker.value
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    @property
    def axes(self) -> Axes:
        """The chosen axes: principal ones or latents."""
        return self.subject.latent_axes if self.kind.value == "latents" else self.subject.principal_axes

    def _choose(self) -> None:
        """Another model or other axes: everything anew."""
        subject, axes = self.subject, self.axes
        self.clicked = 0
        labels = [axes.label(i) for i in range(len(axes))]
        self.components.options = list(zip(labels, range(len(labels)), strict=True))
        self.components.value = tuple(range(min(3, len(axes))))
        palette = zip(colors(len(subject.class_names)), subject.class_names, strict=True)
        self.legend.value = " &nbsp; ".join(
            f"<span style='color:{color}'>●</span> {escape(name)}" for color, name in palette
        )
        present = [i for i in range(len(subject.class_names)) if int((subject.labels == i).sum()) > 1]
        self.origin.options = [
            (_ALL, _ALL),
            (_CLICKED, _CLICKED),
            *((f"class {subject.class_names[i]}", i) for i in present),
        ]
        for i, slider in enumerate(self.sliders):
            slider.layout.display = "" if i < len(axes) else "none"
            slider.description = axes.names[i] if i < len(axes) else ""
        self._draw()
        self._clicked(0)
        self._reset()

    def _draw(self) -> None:
        self.matrix.draw(self.subject, self.axes, self.components.value[:4])

    def _clicked(self, index: int) -> None:
        """Image, reconstruction, class probabilities and nearest neighbours of one image."""
        subject = self.subject
        self.clicked = index
        pair = [subject.x([index])[0], subject.reconstructions[index]]
        self.image.value = png(grid([pair], titles=["image", "decoded"], side=100))
        self.neighbours.value = png(grid([subject.x(subject.neighbours(index))]))
        self.said.value = self._probabilities(index)
        if self.origin.value == _CLICKED:
            self._reset()

    def _probabilities(self, index: int) -> str:
        subject = self.subject
        said = f"<b>{escape(subject.class_names[int(subject.labels[index])])}</b> (image {index})"
        if subject.probabilities is None:
            return said
        palette = colors(len(subject.class_names))
        best = subject.probabilities[index].topk(min(5, len(subject.class_names)))
        for p, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            style = f"display:inline-block;height:9px;width:{110 * p:.0f}px;background:{palette[label]}"
            said += f"<br><span style='{style}'></span> {escape(subject.class_names[label])} {p:.2f}"
        return said

    def _start(self) -> tuple[torch.Tensor, Axes]:
        """Where the sliders' zero is, and the axes with the σ in which they count."""
        subject, origin = self.subject, self.origin.value
        if isinstance(origin, int):
            own = self.axes.around(subject.mu[subject.labels == origin])
            return own.center, own
        return (subject.mu[self.clicked] if origin == _CLICKED else self.axes.center), self.axes

    def _reset(self) -> None:
        of = f"class {self.subject.class_names[self.origin.value]}" if isinstance(self.origin.value, int) else _ALL
        self.unit.value = f"moved by σ of the codes of {escape(of)}:"
        for slider in self.sliders:
            slider.value = 0.0
        self._decode()

    def _decode(self) -> None:
        started = time.perf_counter()
        start, axes = self._start()
        steps = {i: s.value for i, s in enumerate(self.sliders[: len(axes)]) if s.value}
        label = self.origin.value if isinstance(self.origin.value, int) else int(self.subject.labels[self.clicked])
        self.decoded.value = png(
            grid([self.subject.decode(axes.moved(start, steps).unsqueeze(0), label)], gap=0, side=200)
        )
        self.took.value = f"decoded in {1000 * (time.perf_counter() - started):.0f} ms"
