"""PLAN: what is refused before anything starts. Pure; nothing heavy is imported, nothing is measured here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from vaetune import endpoints
from vaetune.config import Configuration, to_json
from vaetune.datasets import CATALOGUE
from vaetune.errors import UserError, unknown
from vaetune.models.configs import CATALOGUE as MODELS
from vaetune.study import Arm, BestOf, Comparison, Study, limits
from vaetune.study.space import combined, configuration, draws

SIGNIFICANCE = 0.05


def check(study: Study) -> None:
    """Raise `UserError` for the first thing that would make the study fail late or answer nothing."""
    where = f"study {study.name!r}"
    structure(study, where)
    _numbers(study, where)
    _objective(study, where)
    for comparison in study.comparisons:
        _comparison(study, comparison, where)
    significance(study, where)
    configurations = {arm.name: _configurations(study, arm) for arm in study.arms}
    _rungs(study, [c for group in configurations.values() for c in group])
    for group in configurations.values():
        _data(study, group)


def structure(study: Study, where: str) -> None:
    """Names that can be folders and ids, at least one arm, nothing named twice."""
    for kind, name in [("study", study.name), *(("arm", arm.name) for arm in study.arms)]:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise UserError(
                f"{where}: the {kind} name {name!r} must be letters, digits and underscores; it names files"
            )
    if not study.arms:
        raise UserError(f"{where}: there are no arms; a study needs at least one")
    _unique((arm.name for arm in study.arms), "arms", where)
    _unique((comparison.name for comparison in study.comparisons), "comparisons", where)


def needed(comparison: Comparison) -> set[str]:
    """The names of all arms that a comparison may use."""
    return {name for side, _ in comparison.weights for name in (side.arms if isinstance(side, BestOf) else (side,))}


def smallest_n(comparisons: int) -> int:
    """The fewest paired replicates whose sign-flip p, 2^(1 − n), can be significant in a Holm family of that size."""
    return 1 + math.ceil(math.log2(max(comparisons, 1) / SIGNIFICANCE))


def significance(study: Study, where: str) -> None:
    """Refuse replicates too few for any comparison to come out significant."""
    family, n = len(study.comparisons), study.replication.n
    if family and 2.0 ** (1 - n) * family > SIGNIFICANCE:
        least = smallest_n(family)
        raise UserError(
            f"{where}: with {n} replicates none of {family} comparison{'s' * (family > 1)} can be significant "
            f"(2^(1 − n) × {family} > {SIGNIFICANCE}); the smallest n that can: --set replication.n={least}"
        )


def _unique(names: Iterable[str], kind: str, where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{where}: two {kind} are named {name!r}; rename one")
        seen.add(name)


def _numbers(study: Study, where: str) -> None:
    budget, replication = study.budget, study.replication
    sections = {name: to_json(getattr(study, name)) for name in ("budget", "replication", "resources")}
    limits.check({"margin": study.margin} | sections, limits.STUDY, where)
    for arm in study.arms:
        if arm.resources is not None:
            limits.check({"resources": to_json(arm.resources)}, limits.STUDY, f"{where}, arm {arm.name!r}")
    for name, value in (("audit", budget.audit), ("top_k", budget.top_k)):
        if value > budget.trials:
            raise UserError(
                f"{where}: budget.{name} = {value} is more than budget.trials = {budget.trials}; "
                f"raise the trials or lower it (--set budget.{name}={budget.trials})"
            )
    if replication.n < budget.searches:
        raise UserError(
            f"{where}: replication.n = {replication.n} cannot cover budget.searches = {budget.searches} searches; "
            f"--set replication.n={budget.searches} is the least"
        )
    for name in study.published:
        if name not in {arm.name for arm in study.arms}:
            raise UserError(f"{where}, published: {unknown('arm', name, [arm.name for arm in study.arms])}")


def _objective(study: Study, where: str) -> None:
    for name, metric in (("metric", study.objective.metric), ("tie", study.objective.tie)):
        if not metric.startswith("val/"):
            raise UserError(
                f"{where}: objective.{name} = {metric!r} is not a validation metric; search may look at nothing else: "
                "choose one that begins with val/, such as val/error"
            )
    for arm in study.arms:
        model = configuration(study, arm, {}).model
        if not model.tasks:  # a class of the study's own that does not say
            continue
        if study.primary.task not in model.tasks:
            raise UserError(
                f"{where}: its endpoint is {study.primary.metric}, which models that {study.primary.task} have; "
                f"{model.kind} of arm {arm.name!r} can {' and '.join(sorted(model.tasks))}: set endpoint, such as "
                f"{endpoints.of('', model.tasks).metric!r}"
            )
        if study.objective.metric in OF_LABELS and "classify" not in model.tasks:
            raise UserError(
                f"{where}: objective.metric = {study.objective.metric!r} needs predicted labels, and {model.kind} has "
                "none: choose a term of its loss, such as val/elbo with direction='maximize' and tie='val/kl'"
            )


OF_LABELS = ("val/error", "val/nll", "val/nll_scaled")


def _comparison(study: Study, comparison: Comparison, where: str) -> None:
    where = f"{where}, comparison {comparison.name!r}"
    names = [arm.name for arm in study.arms]
    for name in sorted(needed(comparison)):
        if name not in names:
            raise UserError(f"{where}: {unknown('arm', name, names)}")
    for side, _ in comparison.weights:
        if isinstance(side, BestOf) and not side.arms:
            raise UserError(f"{where}: BestOf names no arms; name the arms to choose from")
    total = sum(weight for _, weight in comparison.weights)
    if abs(total) > 1e-9 or not any(weight for _, weight in comparison.weights):
        raise UserError(
            f"{where}: the weights sum to {total:g} and must sum to 0 without all being 0, "
            "or it is no contrast; such as +1 and −1"
        )


def _configurations(study: Study, arm: Arm) -> list[Configuration]:
    """What the arm's draws make, each one valid; the arm must leave alone what all arms share."""
    out = []
    for params, overrides in draws(combined(study, arm)):
        config = configuration(study, arm, overrides)
        drawn = f" ({', '.join(f'{name} = {value!r}' for name, value in params.items())})" if params else ""
        where = f"arm {arm.name!r}, a draw of its space{drawn}"
        limits.check(config, limits.CONFIGURATION, where)
        if config.model.kind in MODELS:
            limits.check(config, limits.MODEL, where)
        if (config.dataset.name, config.dataset.n_validation) != (study.dataset.name, study.dataset.n_validation):
            raise UserError(
                f"arm {arm.name!r} changes dataset.name or dataset.n_validation; "
                "arms are compared on the same images: make it a study of its own"
            )
        out.append(config)
    return out


def _rungs(study: Study, configurations: list[Configuration]) -> None:
    warmup = max(c.training.penalty_warmup for c in configurations)
    shortest = min(c.training.epochs for c in configurations)
    grace = study.budget.grace
    if grace < warmup + 1:
        raise UserError(
            f"study {study.name!r}: budget.grace = {grace} ends before the longest penalty_warmup, {warmup} epochs, so "
            f"a rung would judge trials at a reduced penalty; --set budget.grace={warmup + 1} is the least"
        )
    if grace >= shortest:
        raise UserError(
            f"study {study.name!r}: budget.grace = {grace} is not below the shortest training.epochs, {shortest}, so "
            "no rung would lie within it; lower the grace or lengthen the training"
        )


def _data(study: Study, configurations: list[Configuration]) -> None:
    name = study.dataset.name
    family = name.partition(":")[0]
    if family not in CATALOGUE:
        raise UserError(f"study {study.name!r}, dataset.name: {unknown('dataset', family, CATALOGUE)}")
    images = CATALOGUE[family].training_images
    if images is None:  # the size is known once the files are read; the split refuses then
        return
    for dataset in {c.dataset for c in configurations}:
        if (dataset.n_train or 1) + dataset.n_validation > images:
            train = "all other" if dataset.n_train is None else dataset.n_train
            raise UserError(
                f"study {study.name!r}: {name} has {images} training images, too few for {train} training and "
                f"{dataset.n_validation} validation images; lower dataset.n_train or dataset.n_validation"
            )
