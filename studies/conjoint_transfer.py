"""Can a model of paired images put the background of one digit behind another?

Pairs of a digit before a pattern and a rotated digit of the same class. What both share, the class, goes into one
latent, what each has for itself into two others. The endpoint takes the private part of another image's code and asks
how far the decoded image is from the same digit before that other background, which is known: the digits were put
there. Three arms: a conjoint VAE at β = 1, one whose β is searched above 1, and its adversarial form.

    python -m vaetune.study conjoint_transfer                    backgrounds of fashion_mini, some 10 minutes on 2 cores
    python -m vaetune.study conjoint_transfer --preset smoke     the sixteen-point toy, below a minute
    python -m vaetune.study conjoint_transfer --preset mnist     MNIST before stripes, convolutions, for GPUs

The images between, along the straight line from one private code to the other, are drawn by
`vaetune.latents.pictures.transfers` of a pulled model.

Expected: few private latents transfer better than many, since nothing in the bound makes a private code mean the same
beside another shared one: on the toy, with two latents a part, every transfer arrives (four seeds of 60 epochs), with
three between half and all of them. The adversarial form is slower there: after 300 epochs with two latents a part and
three steps of the discriminator 43 and 62 % arrive (two seeds; a quarter by chance). The smoke preset is too short to
see any of it; the larger ones have been planned, not run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaetune.config import to_json
from vaetune.models.configs import NETWORKS, ConjointAVBConfig, ConjointVAEConfig
from vaetune.study import (
    Arm,
    Budget,
    Comparison,
    DatasetConfig,
    Objective,
    Replication,
    Space,
    Study,
    TrainingConfig,
)
from vaetune.study.ranges import both, choice, log


def shared(epochs: tuple[int, ...], rates: tuple[float, float]) -> Space:
    """What every arm searches, over the identical ranges."""
    return both(log("training.learning_rate", *rates), choice("training.epochs", epochs))


def beta(trial: Any) -> Mapping[str, Any]:
    """The weight of all three KLs: the dearer a nat, the less is written down twice."""
    return {"model.beta": trial.suggest_float("beta", 1.0, 8.0, log=True)}


def arms(adversarial: ConjointAVBConfig) -> tuple[Arm, ...]:
    """The plain one, the one that pays more for its codes, the adversarial one."""
    return (
        Arm(name="conjoint", summary="a conjoint VAE, β = 1"),
        Arm(name="conjoint_beta", summary="a conjoint VAE, β from 1 to 8", space=beta),
        Arm(
            name="conjoint_avb",
            summary="implicit posteriors and a discriminator",
            overrides={"model": to_json(adversarial)},
            contains_plain=False,
        ),
    )


DEFAULT = Study(
    name="conjoint_transfer",
    hypothesis="A larger β keeps what is shared out of the private codes, so that only the background moves.",
    arms=arms(ConjointAVBConfig(hidden=(256,), latents=12, private=8, noise=8, discriminator_steps=2)),
    comparisons=(
        Comparison(
            name="conjoint_beta − conjoint",
            question="Does a larger β help the transfer?",
            weights=(("conjoint_beta", 1), ("conjoint", -1)),
        ),
        Comparison(
            name="conjoint_avb − conjoint",
            question="Do implicit posteriors?",
            weights=(("conjoint_avb", 1), ("conjoint", -1)),
        ),
    ),
    dataset=DatasetConfig(name="pairs:background:vertical,fashion_mini::rotated:fashion_mini", n_validation=1_000),
    model=ConjointVAEConfig(hidden=(256,), latents=12, private=8),
    training=TrainingConfig(penalty_warmup=2),
    space=shared(epochs=(10, 20), rates=(5e-4, 5e-3)),
    objective=Objective(metric="val/squared_error", unit="", tie="val/kl"),
    endpoint="test/transfer_error",
    budget=Budget(trials=4, audit=2, grace=4, reduction=3, top_k=1, reseeds=2),
    replication=Replication(n=7, samples=4),
    margin=1.0,
)

SMOKE = replace(
    DEFAULT,
    arms=arms(
        ConjointAVBConfig(
            hidden=(32,), latents=3, private=3, noise=3, posterior=(32,), discriminator=(32,), contrast_draws=8
        )
    ),
    dataset=DatasetConfig(name="pairs:conjoint_toy::conjoint_toy", n_validation=256),
    model=ConjointVAEConfig(hidden=(32,), latents=3, private=3),
    space=shared(epochs=(8, 12), rates=(2e-3, 1e-2)),
    budget=Budget(trials=2, audit=1, grace=4, reduction=2, top_k=1, reseeds=1),
    replication=Replication(n=7, samples=2),
)

MNIST = replace(
    DEFAULT,
    arms=arms(
        ConjointAVBConfig(convolutions=NETWORKS["conv28"], hidden=(256,), latents=24, private=16, discriminator_steps=2)
    ),
    dataset=DatasetConfig(name="pairs:background:vertical,mnist::rotated:mnist", n_validation=5_000),
    model=ConjointVAEConfig(convolutions=NETWORKS["conv28"], hidden=(256,), latents=24, private=16),
    space=shared(epochs=(20, 40), rates=(2e-4, 2e-3)),
    budget=Budget(trials=8, audit=3, grace=5, reduction=3, top_k=2, reseeds=2),
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "mnist": MNIST}
