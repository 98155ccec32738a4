from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from vaetune.config import Configuration
from vaetune.errors import UserError
from vaetune.models.configs import VAEConfig
from vaetune.study import (
    Arm,
    BestOf,
    Budget,
    Comparison,
    DatasetConfig,
    Objective,
    Replication,
    Resources,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
)
from vaetune.study.checks import smallest_n
from vaetune.study.plan import check, costs, disk, extension, render_estimate, render_plan, rungs, search_epochs


def shared(trial: Any) -> Mapping[str, Any]:
    return {"training.epochs": trial.suggest_categorical("epochs", [10, 20])}


def beta(trial: Any) -> Mapping[str, Any]:
    return {"model.beta": trial.suggest_float("beta", 1e-4, 1.0, log=True)}


PLAIN, SVAE = Arm(name="plain", summary=""), Arm(name="svae", summary="", space=beta)
CONTRAST = Comparison(name="svae − plain", question="?", weights=(("svae", 1.0), ("plain", -1.0)))
GOOD = Study(name="demo", hypothesis="h", arms=(PLAIN, SVAE), comparisons=(CONTRAST,), space=shared)


def changed(**changes: Any) -> Study:
    return dataclasses.replace(GOOD, **changes)


def compared(*weights: tuple[str | BestOf, float]) -> Study:
    return changed(comparisons=(dataclasses.replace(CONTRAST, weights=weights),))


def trained(**settings: Any) -> Study:
    return changed(space=lambda t: {}, training=TrainingConfig(**{"epochs": 10} | settings))


PASSING = {
    "the plain one": GOOD,
    "no comparisons and one replicate": changed(comparisons=(), replication=Replication(n=1)),
    "the smallest n": changed(replication=Replication(n=6)),
    "half weights": compared(("svae", 1.0), ("plain", -0.5), (BestOf(("plain", "svae")), -0.5)),
    "grace just after the warm-up": trained(penalty_warmup=4),
    "grace just below the length": trained(epochs=6),
    "audit and top k of all trials": changed(budget=Budget(trials=4, audit=4, top_k=4)),
    "as many replicates as searches": changed(budget=Budget(searches=10)),
    "all images": changed(dataset=DatasetConfig(n_train=4000, n_validation=1000)),
    "a rate of nought": trained(weight_decay=0.0, ema=0.0),
    "another model width in one arm": changed(arms=(PLAIN, dataclasses.replace(SVAE, overrides={"model.latents": 8}))),
    "less data in one arm": changed(arms=(PLAIN, dataclasses.replace(SVAE, overrides={"dataset.n_train": 8}))),
    "published": changed(published={"plain": {"us": 0.0138}}),
}

FAILING: dict[str, tuple[Study, str]] = {
    "no arms": (changed(arms=(), comparisons=()), "there are no arms"),
    "arm twice": (changed(arms=(PLAIN, PLAIN)), "two arms are named 'plain'"),
    "comparison twice": (changed(comparisons=(CONTRAST, CONTRAST)), "two comparisons are named"),
    "arm name": (changed(arms=(PLAIN, dataclasses.replace(SVAE, name="s/vae"))), "arm name 's/vae' must be letters"),
    "study name": (changed(name="../up"), "study name '../up' must be letters"),
    "unknown arm": (compared(("svea", 1.0), ("plain", -1.0)), "unknown arm 'svea': did you mean 'svae'"),
    "unknown arm in BestOf": (compared(("svae", 1.0), (BestOf(("plian",)), -1.0)), "unknown arm 'plian'"),
    "BestOf of nothing": (compared(("svae", 1.0), (BestOf(()), -1.0)), "BestOf names no arms"),
    "weights": (compared(("svae", 1.0), ("plain", -0.5)), "sum to 0.5 and must sum to 0"),
    "no weights": (compared(), "without all being 0"),
    "zero weights": (compared(("svae", 0.0), ("plain", 0.0)), "without all being 0"),
    "too few replicates": (changed(replication=Replication(n=5)), "--set replication.n=6"),
    "published": (changed(published={"plian": {"us": 0.1}}), "published: unknown arm 'plian'"),
    "endpoint": (changed(endpoint="test/eror"), "unknown endpoint 'test/eror': did you mean 'test/error'"),
    "endpoint of other models": (
        changed(endpoint="test/neg_elbo"),
        "its endpoint is test/neg_elbo, which models that generate have; supervised_vae of arm 'plain' can classify",
    ),
    "objective of labels": (
        changed(model=VAEConfig(), arms=(PLAIN,), comparisons=()),
        "objective.metric = 'val/error' needs predicted labels, and vae has none",
    ),
    "margin": (changed(margin=0.0), "margin = 0.0, but it must be greater than 0"),
    "trials": (changed(budget=Budget(trials=0, audit=0, top_k=0)), "budget.trials = 0, but it must be at least 1"),
    "huge": (changed(budget=Budget(trials=2**31)), "budget.trials"),
    "audit": (changed(budget=Budget(trials=4, audit=5)), "budget.audit = 5 is more than budget.trials = 4"),
    "top_k": (changed(budget=Budget(trials=4, top_k=5)), "budget.top_k = 5 is more than"),
    "reduction": (changed(budget=Budget(reduction=1)), "budget.reduction = 1, but it must be at least 2"),
    "searches": (changed(budget=Budget(searches=11)), "cannot cover budget.searches = 11"),
    "max_failures": (changed(budget=Budget(max_failures=1.1)), "budget.max_failures = 1.1"),
    "samples": (changed(replication=Replication(samples=0)), "replication.samples = 0"),
    "resources": (changed(resources=Resources(cpus=0.0)), "resources.cpus = 0.0"),
    "test metric": (changed(objective=Objective(metric="test/error")), "not a validation metric"),
    "test tie": (changed(objective=Objective(tie="train/nll")), "objective.tie = 'train/nll'"),
    "warm-up": (trained(penalty_warmup=5), "--set budget.grace=6 is the least"),
    "length": (trained(epochs=5), "budget.grace = 5 is not below the shortest training.epochs, 5"),
    "drawn length": (changed(space=lambda t: {"training.epochs": t.suggest_int("e", 5, 6)}), "not below the shortest"),
    "rate": (trained(learning_rate=0.0), "training.learning_rate = 0.0, but it must be greater than 0"),
    "ema": (trained(ema=1.0), "training.ema = 1.0, but it must be at least 0 and below 1"),
    "width": (changed(model=SupervisedVAEConfig(trunk=(256, 0))), r"model.trunk = \[256, 0\]"),
    "drawn value": (
        changed(arms=(PLAIN, dataclasses.replace(SVAE, space=lambda t: {"model.beta": -t.suggest_float("b", 1, 2)}))),
        r"arm 'svae', a draw of its space \(epochs = .*, b = .*\): model.beta = -1.*must be at least 0",
    ),
    "drawn type": (changed(space=lambda t: {"training.epochs": 1.5}), "arm 'plain': training.epochs: expected int"),
    "drawn path": (changed(space=lambda t: {"training.epoch": 15}), "unknown setting 'training.epoch'"),
    "arm path": (changed(arms=(PLAIN, dataclasses.replace(SVAE, overrides={"model.lattents": 8}))), "model.lattents"),
    "shared path": (changed(arms=(PLAIN, dataclasses.replace(SVAE, space=shared))), "which the shared space draws"),
    "dataset": (changed(dataset=DatasetConfig(name="fashon_mini")), "did you mean 'fashion_mini'"),
    "other dataset in an arm": (
        changed(arms=(PLAIN, dataclasses.replace(SVAE, overrides={"dataset.name": "digits"}))),
        "arm 'svae' changes dataset.name",
    ),
    "too much data": (changed(dataset=DatasetConfig(n_train=4001)), "has 5000 training images, too few for 4001"),
    "no data left": (changed(dataset=DatasetConfig(n_validation=5000)), "too few for all other training and 5000"),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_check_lets_a_sound_study_pass(name: str) -> None:
    check(PASSING[name])


@pytest.mark.parametrize("name", FAILING)
def test_check_refuses(name: str) -> None:
    study, message = FAILING[name]
    with pytest.raises(UserError, match=message) as caught:
        check(study)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("family", "least"), [(1, 6), (2, 7), (5, 8), (6, 8), (7, 9)])
def test_smallest_n_is_the_first_that_check_accepts(family: int, least: int) -> None:
    comparisons = tuple(dataclasses.replace(CONTRAST, name=str(i)) for i in range(family))
    assert smallest_n(family) == least
    check(changed(comparisons=comparisons, replication=Replication(n=least)))
    with pytest.raises(UserError, match=f"replication.n={least}"):
        check(changed(comparisons=comparisons, replication=Replication(n=least - 1)))


def test_rungs_lie_below_the_length() -> None:
    assert rungs(5, 3, 46) == (5, 15, 45)
    assert rungs(5, 3, 45) == (5, 15)
    assert rungs(5, 3, 5) == ()


def test_search_epochs_is_the_expectation_over_the_rungs() -> None:
    assert search_epochs(5, 3, 30) == pytest.approx(5 + 10 / 3 + 15 / 9)
    assert search_epochs(5, 3, 4) == 4


def test_costs_of_a_study_of_one_length() -> None:
    study = trained(epochs=30)
    plain, svae = costs(study)
    assert (plain.hyperparameters, svae.hyperparameters) == (0, 1)
    assert plain.trials == 16
    assert plain.search_epochs == pytest.approx(4 * 30 + 12 * 10)
    assert plain.select_epochs == 3 * 3 * 30
    assert (plain.replicates, plain.replicate_epochs) == (10, 300)
    assert plain.epochs == plain.search_epochs + plain.select_epochs + plain.replicate_epochs


def test_extra_epochs_are_those_of_replicates_and_all_that_an_extension_costs() -> None:
    table = costs(dataclasses.replace(trained(epochs=30), replication=Replication(extra_epochs=20)))
    assert [c.replicate_epochs for c in table] == [10 * 50] * 2
    assert [c.search_epochs for c in table] == [c.search_epochs for c in costs(trained(epochs=30))]
    assert [(c.trials, c.epochs) for c in extension(table, 15)] == [(0, 10 * 15)] * 2


def test_several_searches_multiply_search_and_selection_only() -> None:
    one, three = costs(trained(epochs=30)), costs(dataclasses.replace(trained(epochs=30), budget=Budget(searches=3)))
    for a, b in zip(one, three, strict=True):
        assert (b.trials, b.search_epochs, b.select_epochs) == (3 * a.trials, 3 * a.search_epochs, 3 * a.select_epochs)
        assert b.replicate_epochs == a.replicate_epochs


def test_disk_counts_replicates_with_their_states_top_k_and_two_more_states_of_the_largest_model() -> None:
    def parameters(config: Configuration) -> int:
        return config.model.latents  # type: ignore[attr-defined, no-any-return]

    arm = Arm(name="a", summary="", space=lambda t: {"model.latents": t.suggest_categorical("latents", [2, 1000])})
    study = changed(arms=(arm,), comparisons=())
    assert disk(study, arm, parameters) == 4 * 1000 * (10 + 3 + (10 + 2) * 3)
    averaged = dataclasses.replace(study, training=TrainingConfig(ema=0.99))
    assert disk(averaged, arm, parameters) == 4 * 1000 * (10 + 3 + (10 + 2) * 4)


def test_what_is_printed_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    table = costs(trained(epochs=30))
    render_plan(GOOD, table)
    lines = capsys.readouterr().out.splitlines()
    assert "compares svae − plain: ?" in lines
    assert "plain\t0\t16\t240\t270\t10\t300" in lines
    assert "total\t\t32\t480\t540\t20\t600" in lines
    render_estimate(GOOD, table, {"plain": 1.0, "svae": 3.0}, {"plain": 2**20, "svae": 2**21}, slots=2)
    lines = capsys.readouterr().out.splitlines()
    assert "plain\t1.000\t0:13:30\t1.0" in lines
    assert "total\t\t0:54:00\t3.0" in lines
    assert lines[-1] == "about 0:27:00 (h:mm:ss) with 2 trials at a time"
