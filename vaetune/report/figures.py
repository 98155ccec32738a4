"""The report's figures, in plotly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from vaetune.report.comparisons import Verdict
from vaetune.report.evidence import Evidence
from vaetune.report.panels import panels
from vaetune.report.primary import ERROR, Primary
from vaetune.report.theme import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, dressed, plain

VERDICTS = {
    "better": BLUE,
    "worse": VERMILION,
    "equivalent": GREEN,
    "different, negligibly": ORANGE,
    "undecided": GREY,
}


def forest(verdicts: Sequence[Verdict], endpoint: Primary = ERROR) -> go.Figure:
    """Each declared comparison's difference with its 95 % interval, over the margin band; in the endpoint's unit."""
    figure = go.Figure()
    places = list(range(len(verdicts)))[::-1]
    scale = endpoint.scale
    margin = scale * verdicts[0].margin
    figure.add_vrect(-margin, margin, fillcolor="rgba(0, 158, 115, 0.12)", line_width=0, layer="below")
    figure.add_vline(0, line={"color": GREY, "width": 1.2})
    for outcome, colour in VERDICTS.items():
        chosen = [(place, v) for place, v in zip(places, verdicts, strict=True) if v.outcome == outcome]
        if not chosen:
            continue
        means = np.array([scale * v.estimate.mean for _, v in chosen])
        highs = np.array([scale * v.estimate.interval()[1] for _, v in chosen])
        hover = [
            f"<b>{plain(v.contrast.name)}</b><br>{endpoint.difference(v.estimate.mean)} {endpoint.unit}"
            f"<br>95 % {endpoint.interval(*v.estimate.interval())}<br>{v.outcome}"
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
            text=plain(verdict.contrast.name), x=0, xref="paper", y=place + 0.3, xanchor="left", showarrow=False
        )
        figure.add_annotation(
            text=endpoint.difference(verdict.estimate.mean),
            x=1,
            xref="paper",
            y=place + 0.3,
            xanchor="right",
            showarrow=False,
        )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(visible=False, range=[-0.5, len(verdicts) - 0.35])
    figure.update_xaxes(title=f"difference in {endpoint.name}, {endpoint.unit}<br>(band: the margin of ±{margin:g})")
    return dressed(figure, 64 * len(verdicts) + 110)


def distributions(evidence: Evidence, arms: pd.DataFrame, published: pd.DataFrame) -> go.Figure:
    """Every replicate's endpoint as a dot, the mean with its 95 % interval as a diamond.

    The axis spans the replicates that finished; a failed one is a cross at its right end, with the arm's mean in words.
    """
    figure = go.Figure()
    endpoint, rows = evidence.endpoint, evidence.replicates
    scale, unit = endpoint.scale, endpoint.values
    done = rows[~rows["failed"]]
    error = scale * done[endpoint.metric]
    figure.add_scatter(
        x=error,
        y=done["arm"].map(plain),
        mode="markers",
        marker={"size": 8, "color": SKY, "opacity": 0.75},
        hovertext=[f"{plain(i)}: {e:.2f} {unit}" for i, e in zip(done["replicate_id"], error, strict=True)],
        hoverinfo="text",
        name="replicate",
    )
    means, lows, highs = (scale * arms[f"{endpoint.metric}{end}"] for end in ("", "_low", "_high"))
    figure.add_scatter(
        x=means,
        y=arms["arm"].map(plain),
        mode="markers",
        marker={"size": 10, "color": BLUE, "symbol": "diamond", "line": {"width": 1.2, "color": "white"}},
        error_x={"array": highs - means, "arrayminus": means - lows, "thickness": 1.8, "width": 4, "color": BLUE},
        name="mean, 95 % interval",
        hovertemplate=f"%{{y}}: %{{x:.2f}} {unit}<extra></extra>",
    )
    if len(published):
        figure.add_scatter(
            x=scale * published["published"],
            y=published["arm"].map(plain),
            mode="markers",
            marker={"size": 11, "color": ORANGE, "symbol": "triangle-up-open", "line": {"width": 2}},
            name="published elsewhere",
            hovertext=[f"{plain(r.source)}: {scale * r.published:.2f} {unit}" for r in published.itertuples()],
            hoverinfo="text",
        )
    healthy = arms["failed"] == 0
    shown = pd.concat([error, scale * published["published"], lows[healthy], highs[healthy]]).dropna()
    if len(shown):
        pad = 0.06 * max(shown.max() - shown.min(), 1.0)
        least = shown.min() - pad
        figure.update_xaxes(range=[least if shown.min() < 0 else max(0.0, least), shown.max() + pad])
    for row in arms[~healthy].to_dict("records"):
        figure.add_annotation(
            text=f"✕ {row['failed']} failed; mean {endpoint.value(row[endpoint.metric])} {unit}",
            x=1,
            xref="paper",
            xanchor="right",
            y=plain(row["arm"]),
            yshift=11,
            showarrow=False,
            font={"color": VERMILION},
        )
    figure.update_yaxes(categoryorder="array", categoryarray=[plain(arm) for arm in evidence.arms])
    figure.update_yaxes(autorange="reversed", ticksuffix="  ", showgrid=True)
    return dressed(figure, 34 * len(arms) + 120)


def learning_curves(curves: pd.DataFrame, share: bool = True) -> go.Figure:
    """A validation score by epoch, a panel an arm: mean, and range over replicates; the other arms in grey behind.

    A `share` is shown in per cent.
    """
    scale = 100 if share else 1
    # One diverged replicate must not flatten every other curve: the axis follows the means, past the first epochs.
    settled = scale * curves.loc[curves["epoch"] >= 0.2 * curves["epoch"].max(), ["least", "mean"]]
    span = float(settled["least" if share else "mean"].min()), float(settled["mean"].max())
    scaled = curves.assign(**{name: scale * curves[name] for name in ("mean", "least", "greatest")})
    return panels(scaled, "epoch", " %" if share else "", span)


def spent(costs: pd.DataFrame) -> go.Figure:
    """What each arm spent: trials by outcome, and training time by phase."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    names = [plain(arm) for arm in costs["arm"]]
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
    return dressed(figure, 30 * len(names) + 140)


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
