"""A scatter matrix that can be clicked: every pair of the chosen axes, in a plotly FigureWidget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from vaetune.errors import UserError
from vaetune.latents.axes import Axes
from vaetune.latents.scatters import colors
from vaetune.latents.subject import Subject

_CELL, _FAINT = 170, "#DDE0E4"


class Matrix:
    """`figure` is the widget; `clicked` is told the number of the image whose dot was clicked."""

    def __init__(self, clicked: Callable[[int], None]) -> None:
        try:
            self.figure = go.FigureWidget()
        except ImportError as error:
            raise UserError("the explorer needs ipywidgets and anywidget: pip install 'vaetune[explorer]'") from error
        self._tell = clicked

    def draw(self, subject: Subject, axes: Axes, chosen: Sequence[int]) -> None:
        """Below the diagonal: a panel a pair of the `chosen` axes, coloured by class. One axis alone is not drawn."""
        n = len(chosen) - 1
        with self.figure.batch_update():
            self.figure.data = ()
            self.figure.layout = go.Layout(template="none", showlegend=False)
            if n < 1:
                return
            shape = make_subplots(
                n, n, shared_xaxes=True, shared_yaxes=True, horizontal_spacing=0.02, vertical_spacing=0.02
            )
            shape.update_layout(
                template="none",
                showlegend=False,
                width=90 + _CELL * max(2, n),
                height=76 + _CELL * max(2, n),
                margin={"l": 64, "r": 8, "t": 8, "b": 62},
            )
            shape.update_xaxes(zeroline=False, gridcolor=_FAINT, title_standoff=8)
            shape.update_yaxes(zeroline=False, gridcolor=_FAINT, title_standoff=8)
            self.figure.layout = shape.layout
            at = axes.coordinates(subject.mu).numpy(force=True)
            palette = colors(len(subject.class_names))
            shades = [palette[label] for label in subject.labels.tolist()]
            names = [subject.class_names[label] for label in subject.labels.tolist()]
            for row in range(n):
                for column in range(row + 1):
                    across, up = chosen[column], chosen[row + 1]
                    panel = row * n + column + 1
                    self.figure.add_trace(
                        go.Scatter(
                            x=at[:, across],
                            y=at[:, up],
                            mode="markers",
                            marker={"size": 5, "color": shades, "opacity": 0.8},
                            text=names,
                            hovertemplate="%{text} · image %{pointNumber}<extra></extra>",
                            xaxis=f"x{panel if panel > 1 else ''}",
                            yaxis=f"y{panel if panel > 1 else ''}",
                        )
                    )
                    if row == n - 1:
                        self.figure.layout[f"xaxis{panel if panel > 1 else ''}"].title = axes.label(across, "<br>")
                    if column == 0:
                        self.figure.layout[f"yaxis{panel if panel > 1 else ''}"].title = axes.label(up, "<br>")
        for trace in self.figure.data:
            trace.on_click(self._clicked)

    def _clicked(self, trace: Any, points: Any, state: Any) -> None:
        if points.point_inds:
            self._tell(points.point_inds[0])
