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
# # A study of your own
#
# One Python file says what is compared. Here is one with an arm that the package does not have, on images that it does
# not have: first run here, then on a cluster.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

import vaetune

work = Path(tempfile.mkdtemp(prefix="own-study-"))

# %% [markdown]
# ## Images
#
# A dataset can be a folder: `<name>/{train,test}/<class>/*.png`. These are rings and discs, drawn with noise.

# %%
rng = np.random.default_rng(0)
for split, n in (("train", 300), ("test", 100)):
    for name in ("disc", "ring"):
        place = work / "data" / "rings" / split / name
        place.mkdir(parents=True)
        for i in range(n):
            picture = Image.new("L", (16, 16))
            x, y = rng.integers(2, 6, 2).tolist()
            ImageDraw.Draw(picture).ellipse((x, y, x + 8, y + 8), 200 if name == "disc" else 0, 200, 2)
            noisy = np.asarray(picture) + rng.normal(0, 90, (16, 16))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")

# %% [markdown]
# ## The study
#
# Arms share the budget and the ranges of what they share; each has besides what is its own. `svae_dropout` is new: the
# variational layer with dropout before it. The comparison is declared here, before anything is known.

# %%
STUDY = """
from vaetune.study import Arm, Budget, Comparison, DatasetConfig, Replication, Study, SupervisedVAEConfig


def shared(trial):
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
        "training.epochs": trial.suggest_categorical("epochs", (4, 6)),
    }


def beta(trial):
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1.0, log=True)}


def beta_and_dropout(trial):
    return beta(trial) | {"model.dropout": trial.suggest_float("dropout", 0.05, 0.5)}


GAUSSIAN = {"model.bottleneck": "gaussian"}
STUDY = Study(
    name="rings",
    hypothesis="Dropout before the variational layer helps on 500 noisy images.",
    arms=(
        Arm(name="svae", summary="the variational layer", overrides=GAUSSIAN, space=beta),
        Arm(name="svae_dropout", summary="with dropout before it", overrides=GAUSSIAN, space=beta_and_dropout),
    ),
    comparisons=(
        Comparison(name="svae_dropout − svae", question="Does it help?", weights=(("svae_dropout", 1), ("svae", -1))),
    ),
    dataset=DatasetConfig(name="folder:rings@16,grey", n_validation=100),
    model=SupervisedVAEConfig(trunk=(32,), latents=8),
    space=shared,
    budget=Budget(trials=3, audit=2, grace=2, top_k=2, reseeds=2),
    replication=Replication(n=6),
    margin=2.0,
)
"""
(work / "rings.py").write_text(STUDY)


def study(*more: str) -> str:
    """Runs the command line `python -m vaetune.study` and returns what it prints."""
    command = [sys.executable, "-m", "vaetune.study", str(work / "rings.py"), "--data-root", str(work / "data"), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# %% [markdown]
# ## Run it here
#
# `--plan` would say what it costs and start nothing; a mistake in the file is one message that names the place.

# %%
print(study("--storage", str(work / "runs"), "--tracking-uri", "none"))

# %%
_, _, replicates = vaetune.tables("rings", storage=str(work / "runs"))
print(replicates.groupby("arm")["test/error"].agg(["mean", "std", "count"]).round(3))

(comparisons,) = (work / "runs" / "rings").glob("*/report/comparisons.csv")
verdicts = pd.read_csv(comparisons)[["comparison", "verdict", "margin", "difference", "low", "high"]]
verdicts.round(3)

# %% [markdown]
# Fractions of test images here; the report prints points. Read a verdict with its margin: arms that differ by less than
# that, for certain, are called *equivalent*, and where six replicates cannot tell, *undecided*.
#
# ## Run it on a cluster
#
# The file stays as it is. Results go to S3, runs to the team's MLflow server, work to the Ray cluster; credentials come
# from the environment only.
#
# ```
# python -m vaetune.study rings.py --address auto --storage s3://bucket/runs \
#     --tracking-uri https://mlflow.example.org --data-root /data
# ```
#
# And back into a notebook: `vaetune.load("s3://bucket/runs/rings", arm="svae_dropout")`.
