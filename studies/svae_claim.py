"""Did the variational layer regularize, in the setting where it was first said to?

The setting in which "the variational layer may behave as an effective regularizer" was first reported compared two
networks that differed in more than that layer. Their numbers:

    variational     convolutions 32-64-128 (kernel 4, stride 2) and a valid one to 32 latents; batch-norm frozen at its
                    initial statistics; batches of 128, Adam 1e-4; β = 1 on a KL with (log σ)² where 2·log σ belongs;
                    the best of 20 epochs on validation
    deterministic   convolutions 32-64-128-128 and one of 1x1, 128 features; live batch-norm that keeps a tenth of the
                    old average; batches of 32, Adam 1e-5; stops after 3 epochs without improvement

The arms `variational` and `deterministic` are these two. Each `only_…` arm takes one difference over into the
deterministic setting, each `without_…` arm takes one out of the variational setting. A difference may matter in one of
them and not in the other; shares of the effect are not claimed to add up. Nothing is tuned: the settings are the claim.

    python -m vaetune.study svae_claim --plan
    python -m vaetune.study svae_claim                           60,000 digits, for GPUs (needs MNIST)
    python -m vaetune.study svae_claim --dataset fashion_mnist   the other set of the claim, for GPUs
    python -m vaetune.study svae_claim --preset few              fashion_mini, an hour or two on 2 cores
    python -m vaetune.study svae_claim --preset smoke            three arms on 200 images, a minute: does it work?

Where this departs from the original: images stay 28x28 and the first convolution pads by 3, which is the same as
padding them to 32x32; the deterministic features come from a fully connected layer, not from a 1x1 convolution; "best"
and "stops" follow the validation NLL, not the accuracy; `--preset few` has rates ten times as high, for its epochs have
a twelfth of the steps. Not yet run on 60,000 images, so no expected values stand here. The smoke preset has a quarter
of the channels too and took 33 s on 2 cores; its variational arms take eight steps and come out near chance, latents
collapsed, so its verdicts say nothing about the claim.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaetune.models.configs import Convolutions
from vaetune.study import (
    Arm,
    Budget,
    Comparison,
    DatasetConfig,
    Replication,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
)

Settings = Mapping[str, Any]


def trunk(*channels: int, latents: int) -> Settings:
    """Layers of kernel 4 and stride 2 on images that the first layer pads to 32x32, and how many numbers follow."""
    n = len(channels)
    lists = {"channels": channels, "kernels": (4,) * n, "strides": (2,) * n, "paddings": (3, *(1,) * (n - 1))}
    return {f"model.convolutions.{name}": numbers for name, numbers in lists.items()} | {"model.latents": latents}


# Each difference as (what the variational setting has, what the deterministic one has).
DIFFERENCES: Mapping[str, tuple[Settings, Settings]] = {
    "layer": (
        {"model.bottleneck": "gaussian_log_squared"},
        {"model.bottleneck": "deterministic"},
    ),
    "frozen_norm": (
        {"model.convolutions.normalisation": "frozen"},
        {"model.convolutions.normalisation": "live"},
    ),
    "batch_and_rate": (
        {"training.batch_size": 128, "training.learning_rate": 1e-4},
        {"training.batch_size": 32, "training.learning_rate": 1e-5},
    ),
    "trunk": (trunk(32, 64, 128, latents=32), trunk(32, 64, 128, 128, latents=128)),
    "best_of_all_epochs": ({"training.patience": 20}, {"training.patience": 3}),
}
VARIATIONAL, DETERMINISTIC = (
    {path: value for pair in DIFFERENCES.values() for path, value in pair[side].items()} for side in (0, 1)
)


def arms(faster: float = 1.0, narrower: int = 1) -> tuple[Arm, ...]:
    """All arms, with learning rates `faster` times the original ones and a `narrower`th of the channels."""

    def arm(name: str, summary: str, settings: Settings) -> Arm:
        rate, channels = settings["training.learning_rate"], settings["model.convolutions.channels"]
        quick = {
            **settings,
            "training.learning_rate": faster * rate,
            "model.convolutions.channels": tuple(n // narrower for n in channels),
        }
        return Arm(name=name, summary=summary, overrides=quick, contains_plain=False)

    said = {name: name.replace("_", " ") for name in DIFFERENCES}
    return (
        arm("deterministic", "the deterministic network as it was", DETERMINISTIC),
        arm("variational", "the variational network as it was", VARIATIONAL),
        *(
            arm(
                f"only_{name}", f"the deterministic network with the other's {said[name]}", {**DETERMINISTIC, **pair[0]}
            )
            for name, pair in DIFFERENCES.items()
        ),
        *(
            arm(f"without_{name}", f"variational, without its {said[name]}", {**VARIATIONAL, **pair[1]})
            for name, pair in DIFFERENCES.items()
        ),
        arm(
            "with_the_kl",
            "variational, with the KL in place of the misprint",
            {**VARIATIONAL, "model.bottleneck": "gaussian_log"},
        ),
    )


COMPARISONS = (
    Comparison(
        name="variational − deterministic",
        question="Is the reported effect there, all differences together?",
        weights=(("variational", 1), ("deterministic", -1)),
    ),
    *(
        Comparison(
            name=f"only {name} − deterministic",
            question="What does this difference do, alone?",
            weights=((f"only_{name}", 1), ("deterministic", -1)),
        )
        for name in DIFFERENCES
    ),
    *(
        Comparison(
            name=f"variational − without {name}",
            question="What does this difference do, beside all others?",
            weights=(("variational", 1), (f"without_{name}", -1)),
        )
        for name in DIFFERENCES
    ),
    Comparison(
        name="variational − with the KL",
        question="What does the misprint do?",
        weights=(("variational", 1), ("with_the_kl", -1)),
    ),
)

# Every arm overrides its lists.
STACK = Convolutions(channels=(32,), kernels=(4,), strides=(2,), paddings=(3,), statistics_kept=0.1)

DEFAULT = Study(
    name="svae_claim",
    hypothesis="Most of the first reported effect of the variational layer comes from what else differed.",
    arms=arms(),
    comparisons=COMPARISONS,
    dataset=DatasetConfig(name="mnist", n_validation=10_000),
    model=SupervisedVAEConfig(trunk=(), convolutions=STACK, initial_sigma=1.0, beta=1.0),
    training=TrainingConfig(epochs=20),
    budget=Budget(trials=1, audit=1, grace=3, top_k=1, reseeds=1),
    replication=Replication(n=10, samples=1),
    margin=0.1,
)

FEW = replace(
    DEFAULT,
    arms=arms(faster=10),
    dataset=DatasetConfig(name="fashion_mini", n_validation=1000),
    margin=0.5,
)

_TRIED = ("deterministic", "variational", "with_the_kl")
SMOKE = replace(
    FEW,
    arms=tuple(arm for arm in arms(faster=10, narrower=4) if arm.name in _TRIED),
    comparisons=(COMPARISONS[0], COMPARISONS[-1]),
    dataset=DatasetConfig(name="fashion_mini", n_train=200, n_validation=200),
    training=TrainingConfig(epochs=4),
    replication=Replication(n=7, samples=1),
    margin=2.0,
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "few": FEW}
"""What `--preset` takes."""
