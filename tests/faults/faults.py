"""A study to break: two small arms (the default), and a preset in which trials raise, diverge or hang.

python -m vaetune.study tests/faults/faults.py --tracking-uri none
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from vaetune.models.supervised_vae import SupervisedVAE
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


def _replayed(trial):
    return "fixed_params" in trial.storage.get_trial_system_attrs(trial._trial_id)


def shared(trial):
    slow = os.environ.get("FAULTS_SLOW")  # a new trial takes so long: there is time for something to happen
    if slow and hasattr(trial, "storage") and not _replayed(trial):
        time.sleep(float(slow))
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


class Ill(SupervisedVAE):
    """Falls ill at its 20th batch, as its configuration says."""

    batches = 0

    def terms(self, *arguments: Any, **named: Any) -> dict[str, Tensor]:
        self.batches += 1
        terms = super().terms(*arguments, **named)
        kind = self.config.ill
        if kind and self.batches >= 20:
            if kind == "raise":
                raise ArithmeticError("the 20th batch")
            if kind == "hang":
                time.sleep(1e6)
            terms["loss"] = terms["loss"] * math.nan
        return terms


@dataclass(frozen=True, kw_only=True)
class IllConfig(SupervisedVAEConfig):
    kind: ClassVar[str] = "ill"
    ill: str = ""

    def build(self, shape: tuple[int, ...], classes: int) -> Ill:
        return Ill(self, shape, classes)


ILL = ("", "nan", "raise", "hang", "", "")


def ill(trial):
    return {"model.ill": ILL[getattr(trial, "number", 0)]} | beta(trial)


PRESETS = {
    "default": STUDY,
    "ill": replace(
        STUDY,
        arms=(Arm(name="ill", summary="the second to fourth trial fall ill", overrides=GAUSSIAN, space=ill),),
        comparisons=(),
        model=IllConfig(trunk=(32,), latents=8),
        budget=Budget(trials=6, audit=6, grace=2, top_k=1, reseeds=1, max_failures=1.0, stall=15.0),
    ),
}
