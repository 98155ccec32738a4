"""A study of one small arm, to be begun from another one's weights and to be extended."""

from vaetune.study import Arm, Budget, DatasetConfig, Replication, Study, SupervisedVAEConfig, TrainingConfig

STUDY = Study(
    name="warm",
    hypothesis="It goes on where another has ended.",
    arms=(Arm(name="one", summary="the variational layer", overrides={"model.bottleneck": "gaussian"}),),
    dataset=DatasetConfig(name="digits", n_train=200, n_validation=200),
    model=SupervisedVAEConfig(trunk=(16,), latents=4),
    training=TrainingConfig(epochs=3, learning_rate=1e-2),
    budget=Budget(trials=2, audit=1, grace=1, reduction=2, top_k=1, reseeds=1),
    replication=Replication(n=2, samples=2),
)
