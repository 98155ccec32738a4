"""The theme of the figures: colours that the colour-blind can tell apart, on white and on near-black alike.

The palette is Okabe and Ito's (2008), its blue lightened to be read on a dark page too.
"""

from __future__ import annotations

import html

import plotly.graph_objects as go  # type: ignore[import-untyped]

BLUE, SKY, GREEN, ORANGE, VERMILION, GREY = "#1F82C6", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#8A8F98"
FAINT = "rgba(128, 134, 145, 0.22)"  # grids and bands that read on white and on near-black alike
INK = "#3D434D"  # the page repaints it when it is dark
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def dressed(figure: go.Figure, height: int) -> go.Figure:
    """The theme: transparent ground, one ink, quiet grids, the legend above the plot."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 12, "r": 16, "t": 48, "b": 52},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left"},
        hoverlabel={"font": {"family": FONT}},
    )
    figure.update_xaxes(gridcolor=FAINT, zeroline=False, linecolor=FAINT, ticks="", automargin=True, title_font_size=13)
    figure.update_yaxes(gridcolor=FAINT, zeroline=False, linecolor=FAINT, ticks="", automargin=True, title_font_size=13)
    figure.update_annotations(font={"size": 13})
    return figure


def plain(name: str) -> str:
    """A user's words for plotly, which would read tags in them."""
    return html.escape(name)
