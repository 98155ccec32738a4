"""What a study is: a hypothesis, a dataset, arms, an objective, a budget, and the comparisons declared in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vaetune import endpoints
from vaetune.config import DatasetConfig, ModelConfig, TrainingConfig
from vaetune.endpoints import Endpoint
from vaetune.models.configs import SupervisedVAEConfig

if TYPE_CHECKING:
    import optuna

__all__ = [
    "Arm",
    "BestOf",
    "Budget",
    "Comparison",
    "DatasetConfig",
    "Objective",
    "Replication",
    "Resources",
    "Space",
    "Study",
    "SupervisedVAEConfig",
    "TrainingConfig",
]

Space = Callable[["optuna.Trial"], Mapping[str, Any]]
"""A define-by-run search space: dotted overrides such as {"model.beta": 0.01}, drawn from `trial`."""


def _nothing(trial: optuna.Trial) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one Ray trial asks for, in cores and (fractions of) GPUs."""

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One condition: what it changes in the plain configuration, and the part of the search space that is its own.

    `contains_plain` says whether the space holds the plain arm as a limit. `stream` names the arm's own random
    streams of search (default: its name); `replicate_stream` is empty in a paired study: replicate i then shares
    split, batch order and shared initialisation with replicate i of every other arm. Where `vaetune.study.axes` has
    crossed a study, `base` is the arm's name before and `at` its place on the axes. `resources` are what its trials
    ask for (default: the study's).
    """

    name: str
    summary: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    space: Space = _nothing
    contains_plain: bool = True
    stream: str = ""
    replicate_stream: str = ""
    base: str = ""
    at: Mapping[str, float] = field(default_factory=dict)
    resources: Resources | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The only quantity that search may look at: a validation metric at a trial's last epoch; ties go to `tie`."""

    metric: str = "val/error"
    direction: Literal["minimize", "maximize"] = "minimize"
    unit: str = "%"
    tie: str = "val/nll_scaled"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every arm may spend on search, and how early stopping spends it.

    `trials` per arm and search, of which the first `audit` are random and never stopped; `grace` epochs before
    the first rung, each next rung `reduction` times as far, the best 1 / `reduction` at a rung go on; the best
    `top_k` finished trials are trained again on `reseeds` fresh seeds, on two validation folds in turn.
    `searches` independent searches per arm. More than the share `max_failures` of an arm's trials failing stops the
    study. A worker that takes longer than `stall` seconds for an epoch is taken to hang and ended; its group is tried
    again twice.
    """

    trials: int = 16
    audit: int = 4
    grace: int = 5
    reduction: int = 3
    top_k: int = 3
    reseeds: int = 3
    searches: int = 1
    max_failures: float = 0.5
    stall: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Replication:
    """The chosen configuration of each arm on `n` fresh seeds; `refit` trains them on training and validation images.

    They train `extra_epochs` beyond the length that was selected, the same number in every arm.
    `samples` is the k of the secondary k-sample evaluation, and of the importance-weighted bound of what decodes. Of
    the first `ais` test images log p(x) is estimated by annealed importance sampling, which takes its time.
    """

    n: int = 10
    refit: bool = False
    samples: int = 12
    ais: int = 0
    extra_epochs: int = 0


@dataclass(frozen=True)
class BestOf:
    """The one of these arms that is best on the replicates' validation images; chosen without the test set."""

    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A contrast declared in advance: Σ weight · the arm's endpoint, e.g. {"svae": 1, "deterministic": −1}.

    A `BestOf` in place of a name is resolved from validation scores. Of what is better when it is smaller, as errors
    are, negative values favour the arms with weight +1. `base` and `at` are as an arm's.
    """

    name: str
    question: str
    weights: tuple[tuple[str | BestOf, float], ...]
    base: str = ""
    at: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question, put so that the answer can be trusted.

    `endpoint` names what is compared, one of `vaetune.endpoints` ("": the error of a classifier, the bound of any other
    model); `margin` is the equivalence margin in its unit; `published` holds, by arm and source, values of it (errors
    as fractions) that others have reported and the report shows beside ours.
    """

    name: str
    hypothesis: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...] = ()
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=SupervisedVAEConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    space: Space = _nothing
    objective: Objective = field(default_factory=Objective)
    endpoint: str = ""
    budget: Budget = field(default_factory=Budget)
    replication: Replication = field(default_factory=Replication)
    resources: Resources = field(default_factory=Resources)
    margin: float = 0.5
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def primary(self) -> Endpoint:
        """What is compared; raises `UserError` with the near matches."""
        return endpoints.of(self.endpoint, self.model.tasks)

    def arm(self, name: str) -> Arm:
        """The arm of that name; raises `UserError` with the near matches."""
        from vaetune.errors import unknown

        for arm in self.arms:
            if arm.name == name:
                return arm
        raise unknown("arm", name, [a.name for a in self.arms])
