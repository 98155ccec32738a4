"""A study to break: two small arms (`micro`), and presets in which a trial is slow, raises, diverges or hangs.

python -m vaetune.study tests/faults/faults.py --preset micro --tracking-uri none
"""

from vaetune.study import (
    Arm,
    Budget,
    Comparison,
    DatasetConfig,
    Replication,
    Resources,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
)


def shared(trial):
    return {"training.learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True)}


def beta(trial):
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1e-2, log=True)}


GAUSSIAN = {"model.bottleneck": "gaussian"}
STUDY = Study(
    name="faults",
    hypothesis="Whatever is killed, nothing is lost.",
    arms=(
        Arm(name="one", summary="the arm", overrides=GAUSSIAN, space=beta),
        Arm(name="other", summary="the arm with seeds of its own", overrides=GAUSSIAN, space=beta, stream="other"),
    ),
    comparisons=(Comparison(name="one − other", question="Do the seeds matter?", weights=(("one", 1), ("other", -1))),),
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=SupervisedVAEConfig(trunk=(32,), latents=8),
    training=TrainingConfig(epochs=6),
    space=shared,
    budget=Budget(trials=4, audit=2, grace=2, reduction=2, top_k=2, reseeds=2),
    replication=Replication(n=6, samples=2),
    resources=Resources(cpus=2),  # one trial at a time on two cores
    margin=2.0,
)
