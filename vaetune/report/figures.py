"""The report's figures, in plotly: one theme, colours that the colour-blind can tell apart.

The palette is Okabe and Ito's (2008), its blue lightened to be read on a dark page too.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from vaetune.report.comparisons import Verdict
from vaetune.report.evidence import Evidence
from vaetune.report.words import interval, percent, points

BLUE, SKY, GREEN, ORANGE, VERMILION, GREY = "#1F82C6", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#8A8F98"
VERDICTS = {
    "better": BLUE,
    "worse": VERMILION,
    "equivalent": GREEN,
    "different, negligibly": ORANGE,
    "undecided": GREY,
}
FAINT = "rgba(128, 134, 145, 0.22)"  # grids and bands that read on white and on near-black alike
INK = "#3D434D"  # the page repaints it when it is dark
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
COLUMNS = 3  # of the small multiples


def forest(verdicts: Sequence[Verdict]) -> go.Figure:
    """Each declared comparison's difference with its 95 % interval, over the margin band; points of test error."""
    figure = go.Figure()
    places = list(range(len(verdicts)))[::-1]
    margin = 100 * verdicts[0].margin
    figure.add_vrect(-margin, margin, fillcolor="rgba(0, 158, 115, 0.12)", line_width=0, layer="below")
    figure.add_vline(0, line={"color": GREY, "width": 1.2})
    for outcome, colour in VERDICTS.items():
        chosen = [(place, v) for place, v in zip(places, verdicts, strict=True) if v.outcome == outcome]
        if not chosen:
            continue
        means = np.array([100 * v.estimate.mean for _, v in chosen])
        highs = np.array([100 * v.estimate.interval()[1] for _, v in chosen])
        hover = [
            f"<b>{_text(v.contrast.name)}</b><br>{points(v.estimate.mean)} points"
            f"<br>95 % {interval(*v.estimate.interval())}<br>{v.outcome}"
            for _, v in chosen
        ]
        figure.add_scatter(
            x=means,
            y=[place for place, _ in chosen],
            error_x={"array": highs - means, "thickness": 2.4, "width": 5, "color": colour},
            mode="markers",
            marker={"size": 11, "color": colour, "line": {"width": 1.5, "color": "white"}},
            name=outcome,
            hovertext=hover,
            hoverinfo="text",
        )
    for place, verdict in zip(places, verdicts, strict=True):
        figure.add_annotation(
            text=_text(verdict.contrast.name), x=0, xref="paper", y=place + 0.3, xanchor="left", showarrow=False
        )
        figure.add_annotation(
            text=points(verdict.estimate.mean), x=1, xref="paper", y=place + 0.3, xanchor="right", showarrow=False
        )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(visible=False, range=[-0.5, len(verdicts) - 0.35])
    figure.update_xaxes(title=f"difference in test error, points (band: the margin of ±{margin:g})")
    return _dressed(figure, 64 * len(verdicts) + 110)


def distributions(evidence: Evidence, arms: pd.DataFrame, published: pd.DataFrame) -> go.Figure:
    """Every replicate's test error as a dot, the mean with its 95 % interval as a diamond; per cent.

    The axis spans the replicates that finished; a failed one is a cross at its right end, with the arm's mean in words.
    """
    figure = go.Figure()
    rows = evidence.replicates
    done = rows[~rows["failed"]]
    error = 100 * done["test/error"]
    figure.add_scatter(
        x=error,
        y=done["arm"].map(_text),
        mode="markers",
        marker={"size": 8, "color": SKY, "opacity": 0.75},
        hovertext=[f"{_text(i)}: {e:.2f} %" for i, e in zip(done["replicate_id"], error, strict=True)],
        hoverinfo="text",
        name="replicate",
    )
    means, lows, highs = (100 * arms[f"test/error{end}"] for end in ("", "_low", "_high"))
    figure.add_scatter(
        x=means,
        y=arms["arm"].map(_text),
        mode="markers",
        marker={"size": 10, "color": BLUE, "symbol": "diamond", "line": {"width": 1.2, "color": "white"}},
        error_x={"array": highs - means, "arrayminus": means - lows, "thickness": 1.8, "width": 4, "color": BLUE},
        name="mean, 95 % interval",
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
    )
    if len(published):
        figure.add_scatter(
            x=100 * published["published"],
            y=published["arm"].map(_text),
            mode="markers",
            marker={"size": 11, "color": ORANGE, "symbol": "triangle-up-open", "line": {"width": 2}},
            name="published elsewhere",
            hovertext=[f"{_text(r.source)}: {100 * r.published:.2f} %" for r in published.itertuples()],
            hoverinfo="text",
        )
    healthy = arms["failed"] == 0
    shown = pd.concat([error, 100 * published["published"], lows[healthy], highs[healthy]]).dropna()
    if len(shown):
        pad = 0.06 * max(shown.max() - shown.min(), 1.0)
        figure.update_xaxes(range=[max(0.0, shown.min() - pad), shown.max() + pad])
    for row in arms[~healthy].to_dict("records"):
        figure.add_annotation(
            text=f"✕ {row['failed']} failed; mean {percent(row['test/error'])} %",
            x=1,
            xref="paper",
            xanchor="right",
            y=_text(row["arm"]),
            yshift=11,
            showarrow=False,
            font={"color": VERMILION},
        )
    figure.update_yaxes(categoryorder="array", categoryarray=[_text(arm) for arm in evidence.arms])
    figure.update_yaxes(autorange="reversed", ticksuffix="  ", showgrid=True)
    return _dressed(figure, 34 * len(arms) + 120)


def learning_curves(curves: pd.DataFrame) -> go.Figure:
    """Validation error by epoch, a panel an arm: mean, and range over replicates; the other arms in grey behind."""
    arms = list(curves["arm"].drop_duplicates())
    columns = min(COLUMNS, len(arms))
    rows = -(-len(arms) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=[_text(arm) for arm in arms],
        horizontal_spacing=0.03,
        vertical_spacing=min(0.12, 0.3 / rows),
    )
    lines = dict(list(curves.groupby("arm", sort=False)))
    behind = pd.concat(
        [pd.concat([own[["epoch", "mean"]], pd.DataFrame({"epoch": [np.nan]})]) for own in lines.values()]
    )
    for i, arm in enumerate(arms):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        own = lines[arm]
        figure.add_scatter(
            x=behind["epoch"],
            y=100 * behind["mean"],
            mode="lines",
            line={"color": FAINT, "width": 1},
            hoverinfo="skip",
            **place,
        )
        figure.add_scatter(
            x=pd.concat([own["epoch"], own["epoch"][::-1]]),
            y=100 * pd.concat([own["greatest"], own["least"][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor="rgba(86, 180, 233, 0.30)",
            hoverinfo="skip",
            **place,
        )
        figure.add_scatter(
            x=own["epoch"],
            y=100 * own["mean"],
            mode="lines",
            line={"color": BLUE, "width": 2.2},
            hovertemplate=f"{_text(arm)}<br>epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
            **place,
        )
    # One diverged replicate must not flatten every other curve: the axis follows the means, past the first epochs.
    settled = 100 * curves.loc[curves["epoch"] >= 0.2 * curves["epoch"].max(), ["least", "mean"]]
    low, high = float(settled["least"].min()), float(settled["mean"].max())
    pad = 0.1 * (high - low) + 0.2
    figure.update_yaxes(range=[max(0.0, low - pad), high + pad])
    figure.update_xaxes(title="epoch", row=rows)
    figure.update_layout(showlegend=False)
    return _dressed(figure, 190 * rows + 90)


def spent(costs: pd.DataFrame) -> go.Figure:
    """What each arm spent: trials by outcome, and training time by phase."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    names = [_text(arm) for arm in costs["arm"]]
    for outcome, colour in {"finished": BLUE, "stopped": SKY, "failed": VERMILION}.items():
        _bar(figure, costs[outcome], names, outcome, colour, 1)
    longest = costs[["search_seconds", "select_seconds", "replicate_seconds"]].sum(axis=1).max()
    unit, size = next(
        (u, s) for u, s in (("hours", 3600), ("minutes", 60), ("seconds", 1)) if longest >= 2 * s or s == 1
    )
    for phase, colour in {"search": GREEN, "select": ORANGE, "replicate": GREY}.items():
        _bar(figure, costs[f"{phase}_seconds"] / size, names, f"time in {phase}", colour, 2)
    figure.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal")
    figure.update_yaxes(autorange="reversed", automargin=True, ticksuffix="  ")
    figure.update_xaxes(title="search trials", col=1)
    figure.update_xaxes(title=f"training time, {unit}", col=2)
    return _dressed(figure, 30 * len(names) + 140)


def _bar(figure: go.Figure, values: pd.Series[float], names: list[str], label: str, colour: str, column: int) -> None:
    figure.add_bar(
        x=values,
        y=names,
        orientation="h",
        name=label,
        marker={"color": colour, "line": {"width": 0}},
        hovertemplate=f"%{{y}}<br>{label}: %{{x:.3~g}}<extra></extra>",
        row=1,
        col=column,
    )


def _dressed(figure: go.Figure, height: int) -> go.Figure:
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


def _text(name: str) -> str:
    """A user's words for plotly, which would read tags in them."""
    return html.escape(name)
