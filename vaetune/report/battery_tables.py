"""The section of the battery: reliability, σ, information plane, outliers, attacks, memorised labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]

from vaetune.report import battery
from vaetune.report.document import Cell, Figure, Table, Text, of, word
from vaetune.report.evidence import Evidence
from vaetune.report.panels import panels
from vaetune.report.theme import BLUE, GREY, dressed, plain
from vaetune.report.words import decimals, number, percent, spread

HALF = "± is the half width of the 95 % t interval over replicates, conditional on these images."
SCORES = {"max_softmax": "1 − largest probability", "entropy": "entropy", "rate": "rate"}


def battery_blocks(found: Evidence) -> list[Figure | Table | Text]:
    """What was measured of the battery; attacks and outliers only where they were asked for."""
    if not found.nll:
        return [Text("The battery asks for predicted labels, and these models predict none.")]
    if found.battery.empty:
        return [Text("The battery was not measured in this execution.")]
    blocks: list[Figure | Table | Text] = [*_reliability(found), *_sigma(found), *_plane(found)]
    blocks += [*_outliers(found), *_attacks(found), *_memorised(found)]
    if not any(isinstance(block, (Figure, Table)) and block.name in ("outliers", "fgsm", "pgd") for block in blocks):
        blocks.append(Text("Outliers, attacks and memorised labels are measured with --battery full."))
    return blocks


def _reliability(found: Evidence) -> list[Figure]:
    table = battery.curve(found, "reliability/accuracy")
    return _curves(
        *("reliability", "Accuracy by confidence, %", table, "confidence", 100.0),
        "One pass at the posterior mean, before temperature scaling, in 15 bins of confidence. A calibrated arm's "
        "line is the diagonal: below it the arm is too sure. Line: mean of the replicates. Band: from the least to "
        "the greatest.",
    )


def _sigma(found: Evidence) -> list[Figure]:
    table = battery.curve(found, "sigma/share")
    table = table[table.groupby("x")["greatest"].transform("max") > 0]
    return _curves(
        *("sigma", "Where σ lies: share of all latents and test images, %", table, "σ", 100.0),
        "Bins a quarter of a decade wide, x the bin's middle on a logarithmic axis. A spike at 1 is the prior: such a "
        "latent carries nothing.",
        log=True,
    )


def _plane(found: Evidence) -> list[Figure]:
    table = battery.numbers(found, "information/")
    if table.empty:
        return []
    wide = table.pivot(index="arm", columns="metric", values="mean").reindex(found.arms)
    wide = wide.reindex(columns=[f"information/{n}" for n in ("xz_at_most", "zy_at_least", "zy_at_most")]).reset_index()
    figure = go.Figure()
    figure.add_hline(wide["information/zy_at_most"].max(), line={"color": GREY, "width": 1.2, "dash": "dot"})
    noisy = wide.dropna(subset=["information/xz_at_most"]).sort_values("information/xz_at_most")
    figure.add_scatter(
        x=noisy["information/xz_at_most"],
        y=noisy["information/zy_at_least"],
        mode="markers+text",
        text=noisy["arm"].map(plain),
        textposition=_beside(list(noisy["information/xz_at_most"]), list(noisy["information/zy_at_least"])),
        marker={"size": 10, "color": BLUE},
        hovertemplate="%{text}<br>I(X;Z) ≤ %{x:.3~g}<br>I(Z;Y) ≥ %{y:.3~g}<extra></extra>",
    )
    figure.update_xaxes(title="upper bound on I(X; Z), nats")
    figure.update_yaxes(title="lower bound on I(Z; Y), nats")
    columns = {
        "Arm": word("arm"),
        "I(X; Z) at most, nats": of("information/xz_at_most", number),
        "I(Z; Y) at least, nats": of("information/zy_at_least", number),
        "H(Y), nats": of("information/zy_at_most", number),
    }
    return [
        Figure(
            "information",
            "The information plane, in bounds",
            dressed(figure, 380),
            Table("information", "Bounds on what the latent knows", wide, columns),
            "Bounds, not estimates (Alemi et al. 2017, §3): I(X; Z) is at most the rate, the mean KL to N(0, I); "
            "I(Z; Y) is at least H(Y) minus the mean log loss over draws of z, and may come out below zero. Dotted: "
            "H(Y), which no classifier exceeds. Arms without additive noise have no finite bound on I(X; Z) and no "
            "point.",
        )
    ]


def _beside(x: list[float], y: list[float]) -> list[str]:
    """Where the name of each point stands, for points by rising x: away from its neighbour's, and inside the plot."""
    places = []
    for i, here in enumerate(x):
        nearest = min((k for k in range(len(x)) if k != i), key=lambda k: abs(x[k] - here), default=i)
        side = "right" if i == 0 else "left" if i == len(x) - 1 else "center"
        places.append(f"{'top' if y[i] >= y[nearest] else 'bottom'} {side}")
    return places


def _outliers(found: Evidence) -> list[Table]:
    table = battery.numbers(found, "ood/")
    if table.empty:
        return []
    parts = table["metric"].str.split("/", expand=True)
    table = table.assign(outliers=parts[1], score=parts[2], kind=parts[3])
    keys = ["arm", "outliers", "score"]
    wide = table.pivot(index=keys, columns="kind", values=["mean", "half"])
    wide.columns = pd.Index([f"{kind}_{what}" for what, kind in wide.columns])
    wide = wide.loc[list(table[keys].drop_duplicates().itertuples(index=False, name=None))].reset_index()
    columns = {
        "Arm": word("arm"),
        "Outliers": word("outliers"),
        "Score": lambda r: SCORES[r["score"]],
        "AUROC, %": _spread(wide, "auroc"),
        "FPR95, %": _spread(wide, "fpr95"),
    }
    note = (
        "Test images against images of another kind, told apart by one number of the model. AUROC: 50 is chance. "
        "FPR95: outliers that pass where 95 % of the test images do. The rate exists where noise is added to the "
        f"latent. {HALF}"
    )
    return [Table("outliers", "Does it notice what it has never seen?", wide, columns, note)]


def _attacks(found: Evidence) -> list[Figure]:
    return [
        figure
        for name, label in {"fgsm": "FGSM", "pgd": "PGD"}.items()
        for figure in _curves(
            *(name, f"Error under {label}, %", battery.curve(found, f"attack/{name}"), "ε", 100.0),
            "ℓ∞ attacks of size ε on pixels in [0, 1], the first 500 test images, through foolbox. Noisy arms "
            "predict by probabilities averaged over k draws and are attacked through the gradient of that average, "
            "so noise does not merely hide the slope. Stronger attacks exist: this is no certificate.",
        )
    ]


def _memorised(found: Evidence) -> list[Table]:
    table = battery.numbers(found, "memorised/")
    if table.empty:
        return []
    wide = table.pivot(index="arm", columns="metric", values=["mean", "half"]).reindex(found.arms).dropna(how="all")
    wide.columns = pd.Index([f"{metric.partition('/')[2]}_{what}" for what, metric in wide.columns])
    wide = wide.reset_index()
    columns = {
        "Arm": word("arm"),
        "Predicted as given, %": _spread(wide, "given"),
        "Predicted as it truly is, %": _spread(wide, "true"),
    }
    note = f"Training images whose label was replaced by a wrong one: memorised, or seen through. {HALF}"
    return [Table("memorised", "What became of the wrong labels", wide, columns, note)]


def _curves(
    name: str, title: str, table: pd.DataFrame, x: str, scale: float, note: str, log: bool = False
) -> list[Figure]:
    if table.empty:
        return []
    wide = table.pivot(index="arm", columns="x", values="mean").reindex(table["arm"].drop_duplicates())
    wide.columns = pd.Index([f"{x} {number(value)}" for value in wide.columns])
    wide = wide.reset_index()
    columns: dict[str, Cell] = {"Arm": word("arm")} | {str(c): of(str(c), percent) for c in wide.columns[1:]}
    scaled = table.assign(**{c: scale * table[c] for c in ("mean", "least", "greatest")}).rename(columns={"x": x})
    figure = panels(scaled, x, " %", (float(scaled["mean"].min()), float(scaled["mean"].max())))
    if log:
        figure.update_xaxes(type="log")
    return [Figure(name, title, figure, Table(name, title, wide, columns), note)]


def _spread(wide: pd.DataFrame, name: str) -> Callable[[Mapping[str, Any]], str]:
    halves: Sequence[float] = list(100 * np.asarray(wide[f"{name}_half"], float))
    digits = decimals(halves)
    return lambda row: spread(100 * row[f"{name}_mean"], 100 * row[f"{name}_half"], digits)
