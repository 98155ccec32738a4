"""Three small arms, one with a decoder."""

from vaetune.study import Arm, Budget, Comparison, DatasetConfig, Replication, Study, SupervisedVAEConfig


def shared(trial):
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
        "training.epochs": trial.suggest_categorical("epochs", (4, 6)),
    }


def beta(trial):
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1e-2, log=True)}


GAUSSIAN = {"model.bottleneck": "gaussian"}
STUDY = Study(
    name="tiny",
    hypothesis="Noise helps.",
    arms=(
        Arm(name="plain", summary="the plain network"),
        Arm(name="svae", summary="the variational layer", overrides=GAUSSIAN, space=beta),
        Arm(
            name="svae_decoder",
            summary="with a decoder",
            overrides=GAUSSIAN | {"model.decoder": (32,), "model.reconstruction": 0.01},
            space=beta,
        ),
    ),
    comparisons=(Comparison(name="svae − plain", question="Does it help?", weights=(("svae", 1), ("plain", -1))),),
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=SupervisedVAEConfig(trunk=(32,), latents=8),
    space=shared,
    budget=Budget(trials=4, audit=2, grace=2, reduction=2, top_k=2, reseeds=2),
    replication=Replication(n=8, samples=2),
    margin=2.0,
)
