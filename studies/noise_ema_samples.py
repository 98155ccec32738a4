"""How much of the spread between published errors of one network do noise layer, averaging and k samples account for?

For the 784-1024-1024-2×256 network of Alemi et al. (2017) on MNIST, errors from 1.13 to 1.42 % are in print: 1.38
(plain) and 1.13 (variational) in the paper, 1.21 (averaged weights, 12 samples) and 1.42 (no averaging) at the end of
its notebook, 1.37 (no averaging) by another group. Noise layer × averaged weights × k samples has six distinct cells,
not eight: without noise k samples change nothing. Four arms are trained; the two further cells are the k-sample
evaluation of the noisy ones, which the report tabulates under "What averaging … samples changes".

    python -m vaetune.study noise_ema_samples --plan
    python -m vaetune.study noise_ema_samples                     60,000 digits, for GPUs (needs MNIST)
    python -m vaetune.study noise_ema_samples --preset few        1,000 digits (needs MNIST), hours on 2 cores
    python -m vaetune.study noise_ema_samples --preset smoke      digits, a minute

The yardstick is the published spread, 0.29 points: the report gives each effect in points with its interval, and the
published errors beside the arms'. Not yet run on 60,000 digits, so no expected values stand here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
from vaetune.study.ranges import both, log


def shared(epochs: int, rates: tuple[float, float]) -> Space:
    """What every arm searches: the learning rate. Everything else is the network's published recipe."""
    return both(log("training.learning_rate", *rates), lambda trial: {"training.epochs": epochs})


def beta(trial: Any) -> Mapping[str, Any]:
    """The weight of the KL, around the published 1e-3."""
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1e-2, log=True)}


NOISE: Mapping[str, Any] = {"model.bottleneck": "gaussian"}


def arms(decay: float) -> tuple[Arm, ...]:
    """Noise layer × averaged weights."""
    ema = {"training.ema": decay}
    return (
        Arm(name="plain", summary="z = μ, the last weights"),
        Arm(name="plain_ema", summary="z = μ, averaged weights", overrides=ema, contains_plain=False),
        Arm(name="noise", summary="the variational layer", overrides=NOISE, space=beta, contains_plain=False),
        Arm(
            name="noise_ema",
            summary="the variational layer, averaged weights",
            overrides={**NOISE, **ema},
            space=beta,
            contains_plain=False,
        ),
    )


COMPARISONS = (
    Comparison(
        name="noise − plain",
        question="What does the variational layer change, on the last weights and by one pass?",
        weights=(("noise", 1), ("plain", -1)),
    ),
    Comparison(
        name="noise_ema − plain_ema",
        question="And with averaged weights?",
        weights=(("noise_ema", 1), ("plain_ema", -1)),
    ),
    Comparison(
        name="plain_ema − plain",
        question="What do averaged weights change without noise?",
        weights=(("plain_ema", 1), ("plain", -1)),
    ),
    Comparison(
        name="noise_ema − noise",
        question="What do averaged weights change with noise?",
        weights=(("noise_ema", 1), ("noise", -1)),
    ),
    Comparison(
        name="noise × averaging",
        question="Do they do more together than the sum of what each does alone?",
        weights=(("noise_ema", 1), ("noise", -1), ("plain_ema", -1), ("plain", 1)),
    ),
)

# 60 epochs at a fiftieth of the images are few steps: the average has to forget faster there.
DEFAULT = Study(
    name="noise_ema_samples",
    hypothesis="Averaged weights and k-sample evaluation account for as much of the published spread as the noise.",
    arms=arms(0.999),
    comparisons=COMPARISONS,
    dataset=DatasetConfig(name="mnist", n_validation=10_000),
    model=SupervisedVAEConfig(trunk=(1024, 1024), latents=256, initial_sigma=0.006715),
    training=TrainingConfig(batch_size=100, beta1=0.5, learning_rate_decay=0.97, decay_every=2),
    space=shared(200, (3e-5, 1e-3)),
    budget=Budget(trials=12, audit=4, grace=20, reduction=3, top_k=2, reseeds=4),
    replication=Replication(n=10, refit=True, samples=12),
    margin=0.1,
    published={
        "plain": {"Alemi et al. 2017": 0.0138},
        "noise": {"Alemi et al. 2017, notebook without averaging": 0.0142},
        "noise_ema": {"Alemi et al. 2017": 0.0113, "Alemi et al. 2017, notebook, 12 samples": 0.0121},
    },
)

FEW = replace(
    DEFAULT,
    arms=arms(0.99),
    dataset=DatasetConfig(name="mnist", n_train=1000, n_validation=2000),
    space=shared(60, (1e-4, 3e-3)),
    replication=replace(DEFAULT.replication, refit=False),
    published={},
)

SMOKE = replace(
    FEW,
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=SupervisedVAEConfig(trunk=(64,), latents=16),
    space=shared(8, (1e-3, 1e-2)),
    budget=Budget(trials=3, audit=2, grace=3, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=8, samples=12),
    margin=1.0,
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "few": FEW}
