"""The building blocks of search spaces."""

from __future__ import annotations

import optuna

from vaetune.study.ranges import both, choice, log, uniform


def test_each_draws_its_setting_by_the_last_part_of_its_path_in_the_order_given() -> None:
    space = both(
        log("training.learning_rate", 1e-4, 1e-2),
        choice("training.epochs", (5, 10)),
        uniform("model.dropout", 0.1, 0.2),
    )
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    drawn = space(trial)
    assert list(drawn) == ["training.learning_rate", "training.epochs", "model.dropout"]
    assert list(trial.params) == ["learning_rate", "epochs", "dropout"]
    assert 1e-4 <= drawn["training.learning_rate"] <= 1e-2
    assert drawn["training.epochs"] in (5, 10)
    assert 0.1 <= drawn["model.dropout"] <= 0.2
    distribution = trial.distributions["learning_rate"]
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    assert distribution.log
    assert not trial.distributions["dropout"].log  # type: ignore[attr-defined]
