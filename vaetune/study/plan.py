"""PLAN: what a study will cost, arm by arm, before anything starts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from vaetune.config import Configuration, architecture
from vaetune.study import Arm, Study
from vaetune.study.checks import check
from vaetune.study.space import combined, configuration, describe, draws
from vaetune.study.tabulate import show

__all__ = ["ArmCost", "check", "costs", "disk", "extension", "render_estimate", "render_plan", "rungs", "search_epochs"]

_FLOAT32 = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class ArmCost:
    """What one arm spends: `trials` in all its searches, epochs as expected over the draws of its space."""

    arm: str
    hyperparameters: int
    trials: int
    search_epochs: float
    select_epochs: float
    replicates: int
    replicate_epochs: float

    @property
    def epochs(self) -> float:
        """All of them."""
        return self.search_epochs + self.select_epochs + self.replicate_epochs


def rungs(grace: int, reduction: int, length: int) -> tuple[int, ...]:
    """The epochs after which a trial of that length is judged: grace · reduction^k below its length."""
    out = []
    while grace < length:
        out.append(grace)
        grace *= reduction
    return tuple(out)


def search_epochs(grace: int, reduction: int, length: int) -> float:
    """The epochs that a trial under early stopping is expected to take, if 1 / reduction go on at every rung."""
    stops = (0, *rungs(grace, reduction, length), length)
    return sum((end - begin) / float(reduction) ** k for k, (begin, end) in enumerate(itertools.pairwise(stops)))


def costs(study: Study) -> tuple[ArmCost, ...]:
    """One for each arm, from the draws of its space; the study must have passed `check`."""
    return tuple(_cost(study, arm) for arm in study.arms)


def extension(table: Sequence[ArmCost], more: int) -> tuple[ArmCost, ...]:
    """What is left to spend where a finished execution is extended by so many epochs of each replicate."""
    return tuple(
        replace(c, trials=0, search_epochs=0, select_epochs=0, replicate_epochs=c.replicates * more) for c in table
    )


def disk(study: Study, arm: Arm, parameters: Callable[[Configuration], int]) -> int:
    """Bytes of the checkpoints that an arm keeps: float32 weights of replicates and top k, and training states.

    Each replicate has a training state, and two are of what still trains. The largest architecture of the space counts.
    A training state is the weights, Adam's two moments, the average, and with patience the best weights.
    """
    configs = {architecture(c): c for c in _configurations(study, arm)}
    largest = max(parameters(c) for c in configs.values())
    weights = study.replication.n + study.budget.top_k * study.budget.searches
    state = max(3 + bool(c.training.ema) + bool(c.training.patience) for c in configs.values())
    return _FLOAT32 * largest * (weights + (study.replication.n + 2) * state)


def render_plan(study: Study, table: Sequence[ArmCost]) -> None:
    """Print the question, the declared comparisons, and arms × trials × epochs × replicates."""
    print(f"{study.name}: {study.hypothesis}")
    endpoint = study.primary
    compared = f"endpoint {endpoint.metric}, " if endpoint.metric != "test/error" else ""
    margin = f"margin {study.margin:g} {endpoint.unit}"
    print(f"dataset {study.dataset.name}, objective {study.objective.metric}, {compared}{margin}")
    for comparison in study.comparisons:
        print(f"compares {comparison.name}: {comparison.question}")
    columns = ["arm", "hyperparameters", "trials", "search epochs", "select epochs", "replicates", "replicate epochs"]
    rows = [
        [
            *(c.arm, str(c.hyperparameters), str(c.trials), f"{c.search_epochs:.0f}", f"{c.select_epochs:.0f}"),
            *(str(c.replicates), f"{c.replicate_epochs:.0f}"),
        ]
        for c in table
    ]
    total = [sum(getattr(c, name) for c in table) for name in _SUMMED]
    rows.append(["total", "", *(f"{value:.0f}" for value in total)])
    show("Plan", columns, rows, numeric=columns[1:])
    print("checks passed; epochs are what early stopping is expected to leave, before one seed is drawn", flush=True)


def render_estimate(
    study: Study,
    table: Sequence[ArmCost],
    seconds: Mapping[str, float],
    space: Mapping[str, int],
    slots: int | None = None,
) -> None:
    """Print time and disk, from measured `seconds` per epoch and checkpoint bytes (`space`) of each arm.

    `slots` is the number of trials that run at once (None: what this machine's cores allow).
    """
    slots = slots or max(1, int((os.cpu_count() or 1) / study.resources.cpus))
    columns = ["arm", "s per epoch", "h:mm:ss", "checkpoints MiB"]
    rows = [
        [c.arm, f"{seconds[c.arm]:.3f}", _clock(c.epochs * seconds[c.arm]), f"{space[c.arm] / 2**20:.1f}"]
        for c in table
    ]
    whole = sum(c.epochs * seconds[c.arm] for c in table)
    rows.append(["total", "", _clock(whole), f"{sum(space[c.arm] for c in table) / 2**20:.1f}"])
    show("Estimate", columns, rows, numeric=columns[1:])
    print(f"about {_clock(whole / slots)} (h:mm:ss) with {slots} trial{'s' * (slots > 1)} at a time", flush=True)


_SUMMED = ("trials", "search_epochs", "select_epochs", "replicates", "replicate_epochs")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _cost(study: Study, arm: Arm) -> ArmCost:
    budget, n = study.budget, study.replication.n
    lengths = [c.training.epochs for c in _configurations(study, arm)]
    full = fmean(lengths)
    stopped = fmean(search_epochs(budget.grace, budget.reduction, length) for length in lengths)
    return ArmCost(
        arm=arm.name,
        hyperparameters=len(describe(combined(study, arm))),
        trials=budget.trials * budget.searches,
        search_epochs=budget.searches * (budget.audit * full + (budget.trials - budget.audit) * stopped),
        select_epochs=budget.searches * budget.top_k * budget.reseeds * full,
        replicates=n,
        replicate_epochs=n * (full + study.replication.extra_epochs),
    )


def _configurations(study: Study, arm: Arm) -> list[Configuration]:
    return [configuration(study, arm, overrides) for _, overrides in draws(combined(study, arm))]
