# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Read a study
#
# A report says what the numbers carry. Here are the same numbers as pandas frames, for questions of your own.

# %%
import json
import os
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

import vaetune

RUNS = os.environ.get("VAETUNE_RUNS", "../runs")
folder = sorted(Path(RUNS, "regularizer_ablation").glob("*/report/report.html"))[-1].parents[1]
study = json.loads((folder / "study.json").read_text())
print(study["run"], "·", study["hypothesis"])

# %% [markdown]
# ## Verdicts
#
# The comparisons were declared before anything ran. *Better* and *worse* are about a difference that is significant
# after Holm; *equivalent* means that a difference as large as the margin is ruled out; *different, negligibly* is both;
# *undecided* is an answer too, and it comes with the smallest difference that this many replicates could have shown.

# %%
verdicts = pd.read_csv(folder / "report" / "comparisons.csv")
shown = verdicts[["comparison", "verdict", "p_adjusted"]].copy()
for column in ("difference", "low", "high", "detectable"):
    shown[f"{column}, points"] = 100 * verdicts[column]  # of test error
shown.set_index("comparison").round(3)

# %% [markdown]
# ## Tables
#
# `ledger` has a row for every trial and replicate that was trained, failed and stopped ones included; `history` one for
# every epoch and metric; `replicates` one for every replicate, with all that was measured. Only replicates may be
# compared: search scores are stopped early and selected.

# %%
ledger, history, replicates = vaetune.tables(folder)
ledger.groupby(["phase", "outcome"])["seconds"].agg(["count", "sum"]).round(1)

# %%
replicates.groupby("arm")[["test/error", "test/nll_scaled", "train/error"]].mean().sort_values("test/error").round(4)

# %% [markdown]
# ## Curves

# %%
arm_of = replicates.set_index("replicate_id")["arm"]
errors = history[(history["metric"] == "val/error") & history["member_id"].isin(arm_of.index)]
curves = errors.assign(arm=errors["member_id"].map(arm_of)).groupby(["arm", "epoch"])["value"].mean().reset_index()

figure = go.Figure(layout={"template": "none", "yaxis_title": "validation error", "xaxis_title": "epoch"})
for arm in ("deterministic", "compression_only", "svae", "svae_decoder"):
    mine = curves[curves["arm"] == arm]
    figure.add_scatter(x=mine["epoch"], y=mine["value"], name=arm)
figure

# %% [markdown]
# ## A plot of your own
#
# Replicate *i* has the same split, batch order and initial values in every arm, so differences are taken pair by pair.
# What both arms owe to an easy split cancels in them. What that is worth is seen by two spreads: of the differences as
# they are, and of what they would be if the arms had nothing in common. (So few replicates tell a spread only roughly.)

# %%
by_replicate = replicates.pivot(index="replicate", columns="arm", values="test/error")
svae, wide = 100 * by_replicate["svae"], 100 * by_replicate["deterministic_wide"]
difference = svae - wide
print(f"SD of the paired differences {difference.std():.2f} points, unpaired {(svae.var() + wide.var()) ** 0.5:.2f}")

figure = go.Figure(layout={"template": "none", "xaxis_title": "replicate", "yaxis_title": "svae − wide, points"})
figure.add_bar(x=difference.index, y=difference)
figure.add_hline(difference.mean(), line_dash="dash", annotation_text=f"mean {difference.mean():+.2f}")
figure
