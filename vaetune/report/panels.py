"""Small multiples: a panel an arm, with the other arms in grey behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from vaetune.report.theme import BLUE, FAINT, dressed, plain

COLUMNS = 3


def panels(curves: pd.DataFrame, x: str, unit: str, span: tuple[float, float]) -> go.Figure:
    """Columns arm, `x`, mean, least and greatest as a line and a band for each arm; `span` is what the axes must show.

    `unit` follows the numbers where the pointer rests.
    """
    arms = list(curves["arm"].drop_duplicates())
    columns = min(COLUMNS, len(arms))
    rows = -(-len(arms) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=[plain(arm) for arm in arms],
        horizontal_spacing=0.03,
        vertical_spacing=min(0.12, 0.3 / rows),
    )
    lines = dict(list(curves.groupby("arm", sort=False)))
    behind = pd.concat([pd.concat([own[[x, "mean"]], pd.DataFrame({x: [np.nan]})]) for own in lines.values()])
    for i, arm in enumerate(arms):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        own = lines[arm]
        figure.add_scatter(
            x=behind[x],
            y=behind["mean"],
            mode="lines",
            line={"color": FAINT, "width": 1},
            hoverinfo="skip",
            **place,
        )
        figure.add_scatter(
            x=pd.concat([own[x], own[x][::-1]]),
            y=pd.concat([own["greatest"], own["least"][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor="rgba(86, 180, 233, 0.30)",
            hoverinfo="skip",
            **place,
        )
        figure.add_scatter(
            x=own[x],
            y=own["mean"],
            mode="lines",
            line={"color": BLUE, "width": 2.2},
            hovertemplate=f"{plain(arm)}<br>{x} %{{x}}: %{{y:.4~g}}{unit}<extra></extra>",
            **place,
        )
    low, high = span
    pad = 0.1 * (high - low) or 0.5
    figure.update_yaxes(range=[low - pad if low < 0 else max(0.0, low - pad), high + pad])
    figure.update_xaxes(title=x, row=rows)
    figure.update_layout(showlegend=False)
    return dressed(figure, 190 * rows + 90)
