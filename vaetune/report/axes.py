"""The section of a crossed study: errors along an axis of its dataset, and where on it the arms part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from vaetune.report.comparisons import Verdict
from vaetune.report.document import Block, Bullets, Figure, Table, of, word
from vaetune.report.evidence import Evidence
from vaetune.report.primary import ERROR, Primary
from vaetune.report.theme import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, dressed, plain

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, GREY, "#CC79A7", "#B8A800")
DASHES = ("solid", "dash", "dot")


def axis_blocks(found: Evidence, by_arm: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[Block]:
    """Curves of the endpoint, and every comparison along the axis; nothing for a study that was not crossed.

    `by_arm` is the table of `summaries.arms`. With two axes there is a panel for each value of the first.
    """
    places = {arm["name"]: arm for arm in found.study["arms"] if arm.get("at")}
    if not places:
        return []
    endpoint = found.endpoint
    *outer, axis = next(iter(places.values()))["at"]
    rows = by_arm[by_arm["arm"].isin(places)]
    table = pd.DataFrame(
        {
            "base": [places[arm]["base"] for arm in rows["arm"]],
            **{_leaf(path): [places[arm]["at"][path] for arm in rows["arm"]] for path in (*outer, axis)},
            "error": rows[endpoint.metric].to_numpy(),
            "low": rows[f"{endpoint.metric}_low"].to_numpy(),
            "high": rows[f"{endpoint.metric}_high"].to_numpy(),
        }
    )
    panel = _leaf(outer[0]) if outer else None
    columns = {"Arm": word("base")} | {_leaf(path): of(_leaf(path), _value) for path in (*outer, axis)}
    curves = Table(
        "axis",
        f"{endpoint.title} by {_leaf(axis)}, {endpoint.values}",
        table,
        columns
        | {
            endpoint.column: of("error", endpoint.value),
            "95 % interval": lambda r: f"{endpoint.value(r['low'])} to {endpoint.value(r['high'])}",
        },
    )
    return [
        Figure(
            "axis",
            f"{endpoint.title} along {_leaf(axis)}, {endpoint.values}",
            _curves(table, _leaf(axis), panel, endpoint),
            curves,
            "Line: mean of the replicates, each arm tuned anew at every value. Band: 95 % interval over seeds and test "
            "examples of each point alone; whether two arms differ is said by their comparison, not by their bands.",
        ),
        *_parting(found, verdicts, " and ".join(_leaf(path) for path in (*outer, axis))),
    ]


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _value(value: float) -> str:
    """A value of an axis as it was declared, unlike a measured number."""
    return f"{value:,g}"


def _curves(table: pd.DataFrame, x: str, panel: str | None, endpoint: Primary = ERROR) -> go.Figure:
    cuts = list(table[panel].drop_duplicates()) if panel else [None]
    titles = [f"{panel} = {_value(cut)}" for cut in cuts if cut is not None] or None
    figure = make_subplots(rows=1, cols=len(cuts), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.03)
    for column, cut in enumerate(cuts, 1):
        shown = table if panel is None else table[table[panel] == cut]
        for i, (arm, own) in enumerate(shown.groupby("base", sort=False)):
            own = own.sort_values(x)
            line = {"color": COLOURS[i % len(COLOURS)], "dash": DASHES[i // len(COLOURS) % len(DASHES)], "width": 2}
            place = {"row": 1, "col": column, "legendgroup": str(arm)}
            figure.add_scatter(
                x=pd.concat([own[x], own[x][::-1]]),
                y=endpoint.scale * pd.concat([own["high"], own["low"][::-1]]),
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=line["color"],
                opacity=0.15,
                hoverinfo="skip",
                showlegend=False,
                **place,
            )
            figure.add_scatter(
                x=own[x],
                y=endpoint.scale * own["error"],
                mode="lines+markers",
                line=line,
                name=plain(str(arm)),
                showlegend=column == 1,
                hovertemplate=f"{plain(str(arm))}<br>{x} = %{{x}}: %{{y:.2f}} {endpoint.values}<extra></extra>",
                **place,
            )
    figure.update_xaxes(title=x)
    if table[x].min() > 0 and table[x].max() >= 8 * table[x].min():
        figure.update_xaxes(type="log", tickvals=sorted(set(table[x])), tickformat=",~g")
    figure.update_yaxes(title=f"{endpoint.name}, {endpoint.values}", col=1)
    dressed(figure, 420)
    if panel:  # whose titles stand where the legend would
        figure.update_layout(legend_y=1.1, margin_t=80)
    return figure


def _parting(found: Evidence, verdicts: Sequence[Verdict], axes: str) -> list[Block]:
    """Each comparison along the axes: its verdicts in words, and at each value its numbers."""
    declared = {c["name"]: c for c in found.study["comparisons"] if c.get("at")}
    crossed = [verdict for verdict in verdicts if verdict.contrast.name in declared]
    if not crossed:
        return []
    endpoint = found.endpoint
    rows = [_row(declared[verdict.contrast.name], verdict) for verdict in crossed]
    frame = pd.DataFrame(rows)
    sentences = []
    for name, own in frame.groupby("comparison", sort=False):
        said = [f"{outcome} at {', '.join(cell['place'])}" for outcome, cell in own.groupby("verdict", sort=False)]
        sentences.append(f"{name}: {'; '.join(said)}.")
    columns = {
        "Comparison": word("comparison"),
        "At": word("place"),
        f"Difference, {endpoint.unit}": of("difference", endpoint.difference),
        "95 % interval": lambda r: endpoint.interval(r["low"], r["high"]),
        "Verdict": word("verdict"),
    }
    note = "The verdicts are adjusted for all declared comparisons at all values together."
    return [Bullets(sentences), Table("parting", f"The comparisons along {axes}", frame, columns, note)]


def _row(declared: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    low, high = verdict.estimate.interval()
    place = " with ".join(f"{_leaf(path)} = {_value(value)}" for path, value in declared["at"].items())
    return {
        "comparison": declared["base"],
        "place": place,
        "difference": verdict.estimate.mean,
        "low": low,
        "high": high,
        "verdict": verdict.outcome,
    }
