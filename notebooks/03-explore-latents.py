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
# # Explore a latent space
#
# What has the variational layer kept of the images, and where? Arms with a decoder can show it.

# %%
import os

import vaetune
from vaetune.latents import pictures, scatters, traversals
from vaetune.latents.explorer import Explorer

RUNS = os.environ.get("VAETUNE_RUNS", "../runs")
models = vaetune.load_all(
    vaetune.load("regularizer_ablation", arm="svae_decoder", storage=RUNS).run,
    {"arm": "svae_decoder", "phase": "replicate"},
    storage=RUNS,
)
subject = models[0].subject()
models

# %% [markdown]
# ## Live
#
# Choose a replicate and axes. Click a dot: its image, its reconstruction, what the classifier says, and the images
# whose codes lie nearest. Move a slider: the decoder follows. Sliders count in σ, of all codes or of the class that
# you start from.

# %%
Explorer({m.id: m.subject for m in models})

# %% [markdown]
# The same without a kernel is `report/explorer.html` beside the study's report: one file that can be sent around.
#
# ## Pictures
#
# Where the images lie on the principal axes of their codes; on the diagonal, how each class is spread along one.

# %%
scatters.scatter_matrix(subject, axes=(0, 1, 2))

# %% [markdown]
# One latent at a time, those with most nats first, from −2.5 to +2.5 σ of the codes. A latent that costs hardly a nat
# hardly moves anything.

# %%
traversals.traversals(subject, index=2)

# %%
traversals.moving(subject, index=2)

# %% [markdown]
# Draws from the prior N(0, I), then draws around each class's own codes. Where β is small the codes spread further than
# the prior, which then draws from places that the decoder has hardly seen: such a model encodes, but does not generate.

# %%
print("rms of the codes", round(float(subject.mu.square().mean().sqrt()), 2), "(the prior's is 1)")
pictures.prior_samples(subject, rows=3)

# %%
pictures.class_grid(subject)

# %% [markdown]
# The plane of the two greatest principal axes, at the quantiles of the codes along them, and straight lines between
# images.

# %%
pictures.manifold(subject, n=12)

# %%
pictures.interpolations(subject)

# %% [markdown]
# How the codes found their places: of replicate 0 a study keeps up to ten states on its way.

# %%
scatters.over_training(subject, models[0].states())
