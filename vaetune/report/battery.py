"""The battery in numbers: curves and one-number metrics of each arm, as means over its replicates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from vaetune.report.evidence import Evidence
from vaetune.report.statistics import ALPHA


def curve(evidence: Evidence, metric: str) -> pd.DataFrame:
    """One row an arm and x: mean, least and greatest value over the replicates that have it there."""
    own = _of(evidence)
    rows = own[(own["metric"] == metric) & own["x"].notna()]
    table = rows.groupby(["arm", "x"])["value"].agg(mean="mean", least="min", greatest="max", replicates="count")
    return _in_order(evidence, table.reset_index(), "x")


def numbers(evidence: Evidence, prefix: str) -> pd.DataFrame:
    """One row an arm and metric that begins with `prefix`: mean over replicates, half width of its t interval."""
    own = _of(evidence)
    rows = own[own["metric"].str.startswith(prefix) & own["x"].isna()]
    table = rows.groupby(["arm", "metric"], sort=False)["value"].agg(mean="mean", sd="std", replicates="count")
    table = table.reset_index()
    n = table["replicates"].to_numpy(float)
    t = stats.t.ppf(1 - ALPHA / 2, np.where(n > 1, n - 1, np.nan))
    table["half"] = t * table["sd"] / np.sqrt(n)
    return _in_order(evidence, table, "metric")


def collapsed(evidence: Evidence) -> list[str]:
    """Sentences on arms in which a replicate's latent says nothing about the image."""
    own = _of(evidence)
    flagged = own[(own["metric"] == "latent/collapsed") & (own["value"] == 1)]
    out = []
    for arm, rows in flagged.groupby("arm"):
        total = len(evidence.of(str(arm)))
        out.append(f"{arm}: the latent of {len(rows)} of {total} replicates has collapsed: no unit is active.")
    return sorted(out, key=lambda text: evidence.arms.index(text.partition(":")[0]))


def _of(evidence: Evidence) -> pd.DataFrame:
    return evidence.battery.merge(evidence.replicates[["replicate_id", "arm"]], on="replicate_id")


def _in_order(evidence: Evidence, table: pd.DataFrame, then: str) -> pd.DataFrame:
    table["arm"] = pd.Categorical(table["arm"], categories=evidence.arms, ordered=True)
    # Stable: metrics stay in the order in which they were measured.
    table = table.sort_values(["arm", then] if then == "x" else ["arm"], kind="stable", ignore_index=True)
    return table.astype({"arm": str})
