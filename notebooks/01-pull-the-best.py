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
# # Pull the best
#
# A study trains many models, measures the chosen ones again on fresh seeds, and publishes the best replicate of each
# arm. One line brings it here. A result is needed first; `make study ARGS="--preset smoke"` makes one in about a minute
# and leaves it in `runs/`.

# %%
import os

import pandas as pd

import vaetune

RUNS = os.environ.get("VAETUNE_RUNS", "../runs")  # where results lie: the --storage of the study

# %% [markdown]
# ## By name
#
# A study's name and an arm stand for the arm's *champion* in MLflow's registry: the best published version, by the mean
# validation score of its execution. MLflow is asked at `MLFLOW_TRACKING_URI`, else in the database beside the results.
# With `device="cuda"` the model lies on a GPU.

# %%
svae = vaetune.load("regularizer_ablation", arm="svae_decoder", storage=RUNS)
svae

# %% [markdown]
# It comes with what it was trained with, and with what was measured on it. Likelihoods are nats per example, errors
# fractions.

# %%
print(svae.config.model)
print(svae.config.training)
{name: round(svae.metrics[name], 4) for name in ("val/error", "test/error", "test/nll", "rate/nats")}

# %% [markdown]
# ## Encode, decode, predict
#
# `data()` gives the images that this replicate was validated on. (The test images stay sealed: only a study opens
# them, once.) Images go in as bytes; `transform` does to them what training did.

# %%
images, labels = svae.data()
probabilities = svae.predict(images)
print("validation error", (probabilities.argmax(1) != labels).float().mean().item())

z = svae.encode(images)
print("codes", tuple(z.shape), "images again", tuple(svae.decode(z).shape))

# %%
from vaetune.latents import pictures

pictures.reconstructions(svae.subject())

# %% [markdown]
# ## By folder, by run, from S3
#
# The same call takes a result's folder, its RUN, an id of one of MLflow's runs, or an `s3://` address. From a result
# any replicate can be had by its id. `load_all` brings every model whose parameters match, by value or by a function.

# %%
one = vaetune.load(svae.run, id="svae-rep03", storage=RUNS)
print(one)

weak = vaetune.load_all(
    f"{RUNS}/regularizer_ablation/{svae.run}",
    {"phase": "replicate", "model.bottleneck": "gaussian", "model.beta": lambda beta: beta < 0.1},
)
pd.DataFrame({"model": m.id, "β": m.config.model.beta, "test error": m.metrics["test/error"]} for m in weak)

# %% [markdown]
# ## Files
#
# Weights are safetensors, everything else is JSON, and a manifest states each file's SHA-256: loading executes nothing,
# and a file that was cut short or changed is refused. From a shell, with a progress bar:
#
# ```
# python -m vaetune.pull regularizer_ablation --arm svae --to models
# python -m vaetune.pull s3://bucket/runs/regularizer_ablation/RUN --to results
# ```
