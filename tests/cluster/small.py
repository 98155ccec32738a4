"""A study whose trials take long enough to lose a machine in the middle of one."""

from vaetune.study import Arm, Budget, DatasetConfig, Replication, Study, SupervisedVAEConfig, TrainingConfig


def rate(trial):  # type: ignore[no-untyped-def]
    return {"training.learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-3, log=True)}


STUDY = Study(
    name="small",
    hypothesis="Machines come and go, numbers stay.",
    arms=(
        Arm(name="plain", summary="z = μ"),
        Arm(name="svae", summary="the variational layer", overrides={"model.bottleneck": "gaussian"}),
    ),
    dataset=DatasetConfig(name="fashion_mini", n_train=3000, n_validation=1000),
    model=SupervisedVAEConfig(trunk=(256, 256), latents=32),
    training=TrainingConfig(epochs=60, batch_size=64),
    space=rate,
    budget=Budget(trials=2, audit=2, grace=30, top_k=2, reseeds=1),  # top_k: no trial's weights are thrown away
    replication=Replication(n=2),
)
