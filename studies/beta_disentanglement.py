"""Does a larger β put the factors of the images each into a latent of its own, and does it matter how many there are?

Five arms: β of 1, 4 and 16 with ten latents, and of 1 and 4 with five, on shapes drawn from five known factors. The
endpoint is the mutual information gap of test images' codes; DCI, SAP and the FactorVAE score stand beside it. None of
them is a mean over images, so inference is by t over replicates. Search looks at each arm's own loss, never at factors.

    python -m vaetune.study beta_disentanglement                    shapes at 64x64, hours: for GPUs
    python -m vaetune.study beta_disentanglement --preset cpu       2,000 shapes, some 15 minutes on 2 cores
    python -m vaetune.study beta_disentanglement --preset smoke     200 shapes, below a minute: does everything work?

Expected: at a moderate β more of the gap than at 1, at a large one less again, for latents that collapse disentangle
nothing. Measured with the smoke preset only (6 epochs on 200 images, which learn next to nothing): gaps of a few per
cent and a verdict of undecided; 43 s on 2 cores. The larger presets have been planned, not run.
"""

from dataclasses import replace

from vaetune.models.configs import NETWORKS, Convolutions, VAEConfig
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


def arm(beta: int, latents: int) -> Arm:
    """One cell of the table."""
    return Arm(
        name=f"beta{beta}_z{latents}",
        summary=f"β = {beta}, {latents} latents",
        overrides={"model.beta": float(beta), "model.latents": latents},
        contains_plain=(beta, latents) == (1, 10),
    )


def against(ours: str, theirs: str, question: str) -> Comparison:
    """The difference of two arms."""
    return Comparison(name=f"{ours} − {theirs}", question=question, weights=((ours, 1), (theirs, -1)))


DEFAULT = Study(
    name="beta_disentanglement",
    hypothesis="A β above 1 raises the mutual information gap, with few latents as with many.",
    arms=(arm(1, 10), arm(4, 10), arm(16, 10), arm(1, 5), arm(4, 5)),
    comparisons=(
        against("beta4_z10", "beta1_z10", "Does β = 4 disentangle ten latents better?"),
        against("beta16_z10", "beta4_z10", "Does still more β?"),
        against("beta4_z5", "beta1_z5", "Does β = 4 disentangle as many latents as there are factors better?"),
    ),
    dataset=DatasetConfig(name="shapes", n_validation=1_000),
    model=VAEConfig(convolutions=NETWORKS["conv64"], hidden=(256,), latents=10),
    training=TrainingConfig(penalty_warmup=4),
    space=shared(epochs=(60, 120), rates=(2e-4, 2e-3)),
    objective=Objective(metric="val/loss", unit="nats", tie="val/kl"),
    endpoint="test/mig",
    budget=Budget(trials=8, audit=3, grace=6, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=10),
    margin=2.0,
)

SMALL = Convolutions(channels=(8, 16), kernels=(8, 4), strides=(4, 4), paddings=(2, 0))

CPU = replace(
    DEFAULT,
    dataset=DatasetConfig(name="shapes", n_train=2_000, n_validation=500),
    model=VAEConfig(convolutions=SMALL, hidden=(128,), latents=10),
    space=shared(epochs=(20, 30), rates=(1e-3, 5e-3)),
    budget=Budget(trials=3, audit=2, grace=5, reduction=3, top_k=1, reseeds=1),
)

SMOKE = replace(
    CPU,
    arms=(arm(1, 4), arm(4, 4)),
    comparisons=(against("beta4_z4", "beta1_z4", "Does β = 4 disentangle four latents better?"),),
    dataset=DatasetConfig(name="shapes", n_train=200, n_validation=100),
    model=VAEConfig(convolutions=SMALL, hidden=(32,), latents=4),
    training=TrainingConfig(penalty_warmup=2, batch_size=32),
    space=shared(epochs=(4, 6), rates=(1e-3, 5e-3)),
    budget=Budget(trials=2, audit=1, grace=3, reduction=2, top_k=1, reseeds=1),
    replication=Replication(n=6, samples=2),
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "cpu": CPU}
