"""Is a decoder trained with a face classifier worth anything to it, or may it just as well come afterwards?

The supervised VAE on images of faces in three forms: without a decoder, with a decoder that trains together with
encoder and classifier (joint), and with one that trains last, on the frozen encoder (two stages). The two-stage form
cannot change the classifier but for the epochs it takes from it; it shows what the classifier's latent kept.

    python -m vaetune.study svae_faces                       celeba:Smiling at 64x64, hours: for GPUs
    python -m vaetune.study svae_faces --preset folder       folder:faces@64: your faces/{train,test}/<class>/*.jpg
    python -m vaetune.study svae_faces --preset smoke        drawn faces in small JPEG files: does everything work?

Expected: joint and two-stage errors within the margin of the one without a decoder at the weights searched, and a
decoder that returns blurred faces of the right attribute. Look at the pictures, not only at the error.
Measured with the smoke preset only, whose dozen epochs on 350 faces leave every arm at chance, 50 % (it shows that
everything works, no more); the other presets have been planned, not run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaetune.models.configs import NETWORKS, Convolutions
from vaetune.study import (
    Arm,
    Budget,
    Comparison,
    DatasetConfig,
    Replication,
    Space,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
)
from vaetune.study.ranges import both, choice, log


def shared(epochs: tuple[int, ...], rates: tuple[float, float]) -> Space:
    """What every arm searches, over the identical ranges."""
    return both(log("training.learning_rate", *rates), choice("training.epochs", epochs), log("model.beta", 1e-4, 1e-1))


def reconstruction(trial: Any) -> Mapping[str, Any]:
    """The weight of −log p(x|z), of which an image of 64x64 has thousands of nats."""
    return {"model.reconstruction": trial.suggest_float("reconstruction", 1e-6, 1e-3, log=True)}


ARMS = (
    Arm(name="classifier", summary="encoder, variational layer, classifier; no decoder"),
    Arm(
        name="joint",
        summary="a decoder that trains together with all else",
        overrides={"model.decoder": (256,)},
        space=reconstruction,
    ),
    Arm(
        name="two_stage",
        summary="a decoder that trains in the second half of the epochs, on the frozen encoder",
        overrides={"model.decoder": (256,), "model.decoder_share": 0.5},
        contains_plain=False,
    ),
)

DEFAULT = Study(
    name="svae_faces",
    hypothesis="A decoder trained along changes the error of a face classifier; one trained afterwards does not.",
    arms=ARMS,
    comparisons=(
        Comparison(
            name="joint − classifier",
            question="Does reconstructing help or hurt the classifier?",
            weights=(("joint", 1), ("classifier", -1)),
        ),
        Comparison(
            name="two_stage − joint",
            question="Must the decoder train along?",
            weights=(("two_stage", 1), ("joint", -1)),
        ),
    ),
    dataset=DatasetConfig(name="celeba:Smiling", n_train=20_000, n_validation=5_000),
    model=SupervisedVAEConfig(
        convolutions=NETWORKS["conv64"], trunk=(256,), latents=64, bottleneck="gaussian", initial_sigma=0.1
    ),
    space=shared(epochs=(20, 40), rates=(1e-4, 1e-3)),
    budget=Budget(trials=8, audit=3, grace=5, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=7),
    margin=0.5,
)

FOLDER = replace(DEFAULT, dataset=DatasetConfig(name="folder:faces@64", n_validation=500))

SMOKE = replace(
    DEFAULT,
    dataset=DatasetConfig(name="drawn_faces", n_validation=100),
    model=SupervisedVAEConfig(
        convolutions=Convolutions(channels=(4, 8), kernels=(4, 4), strides=(4, 2), paddings=(0, 1)),
        trunk=(32,),
        latents=8,
        bottleneck="gaussian",
    ),
    training=TrainingConfig(batch_size=32),
    space=shared(epochs=(8, 12), rates=(2e-3, 1e-2)),
    budget=Budget(trials=2, audit=1, grace=2, reduction=2, top_k=1, reseeds=1),
    replication=Replication(n=7, samples=2),
    margin=2.0,
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "folder": FOLDER}
