"""Does a generative task on a shared trunk help a classifier that branches off it?

Three arms are one network: a trunk, a Gaussian latent with its decoder, a classification branch. Only the weights of
the losses differ, so the number of parameters does not. `plain` trains the branch alone, `autoencoder` adds the
reconstruction without its KL, `branched` both.

    python -m vaetune.study branched_classifier                    fashion_mini, some 15 minutes on 2 cores
    python -m vaetune.study branched_classifier --preset smoke     digits, 28 s on 2 cores: does everything work?
    python -m vaetune.study branched_classifier --preset mnist     convolutions on 5,000 images of MNIST, for GPUs

Expected: a small gain at few images at best, since nothing pulls class information into the features that the pixels
do not reward; an undecided verdict would not surprise. Nothing is claimed of the latent, which the branch never reads.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaetune.models.configs import NETWORKS, BranchedVAEConfig
from vaetune.study import Arm, Budget, Comparison, DatasetConfig, Replication, Space, Study
from vaetune.study.ranges import both, choice, log


def shared(epochs: tuple[int, ...]) -> Space:
    """What every arm searches, over the identical ranges."""
    return both(log("training.learning_rate", 3e-4, 1e-2), choice("training.epochs", epochs))


def reconstruction(trial: Any) -> Mapping[str, Any]:
    """The weight of −log p(x|z), a nat of which is one of some hundred pixels, against one nat of cross-entropy."""
    return {"model.reconstruction": trial.suggest_float("reconstruction", 1e-4, 1e-1, log=True)}


def weights(trial: Any) -> Mapping[str, Any]:
    """The same weight for −log p(x|z) and, times a searched factor, for the KL."""
    found = dict(reconstruction(trial))
    factor = trial.suggest_float("beta_over_reconstruction", 0.1, 10.0, log=True)
    return found | {"model.beta": factor * found["model.reconstruction"]}


ARMS = (
    Arm(
        name="plain",
        summary="the classification branch alone; latent and decoder are there and do not train",
        overrides={"model.reconstruction": 0.0, "model.beta": 0.0},
    ),
    Arm(
        name="autoencoder",
        summary="with a weighted reconstruction from a noisy latent, no KL",
        overrides={"model.beta": 0.0},
        space=reconstruction,
    ),
    Arm(name="branched", summary="with reconstruction and KL: a whole VAE beside the branch", space=weights),
)

DEFAULT = Study(
    name="branched_classifier",
    hypothesis="A VAE that shares its trunk with a classifier lowers the classifier's test error.",
    arms=ARMS,
    comparisons=(
        Comparison(
            name="branched − plain",
            question="Does the whole generative task help?",
            weights=(("branched", 1), ("plain", -1)),
        ),
        Comparison(
            name="branched − autoencoder",
            question="Does the KL add anything to the reconstruction?",
            weights=(("branched", 1), ("autoencoder", -1)),
        ),
    ),
    dataset=DatasetConfig(name="fashion_mini", n_validation=1000),
    model=BranchedVAEConfig(hidden=(256,), latents=16, branch=(128,)),
    space=shared(epochs=(10, 20)),
    budget=Budget(trials=12, audit=4, grace=3, reduction=3, top_k=2, reseeds=3),
    replication=Replication(n=10),
    margin=0.5,
)

SMOKE = replace(
    DEFAULT,
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=BranchedVAEConfig(hidden=(48,), latents=6, branch=(32,)),
    space=shared(epochs=(5, 8)),
    budget=Budget(trials=3, audit=2, grace=3, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=7),
    margin=1.0,
)

MNIST = replace(
    DEFAULT,
    dataset=DatasetConfig(name="mnist", n_train=5_000, n_validation=5_000),
    model=BranchedVAEConfig(convolutions=NETWORKS["conv28"], hidden=(256,), latents=32, branch=(128,)),
    space=shared(epochs=(20, 40)),
    margin=0.2,
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "mnist": MNIST}
