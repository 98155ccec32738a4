"""Shares of hyperparameters in an arm's search."""

from __future__ import annotations

from typing import Any

import pytest

from vaetune.study import Arm, Budget, Study, importance
from vaetune.study.search import Search


def space(trial: Any) -> dict[str, Any]:
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "training.batch_size": trial.suggest_categorical("batch_size", [32, 64]),
    }


def searched(trials: int, scored: Any, **arm: Any) -> Search:
    study = Study(name="s", hypothesis="h", arms=(Arm(name="one", summary="", **arm),), budget=Budget(trials=trials))
    search = Search(study, 0, 1)
    while (suggestion := search.next()) is not None:
        value = scored(suggestion)
        search.tell(suggestion.trial_id, "finished" if value is not None else "failed", value)
    return search


def test_what_decides_the_score_has_the_greatest_share() -> None:
    rows = importance.rows(searched(16, lambda s: s.params["learning_rate"], space=space))
    shares = {row["parameter"]: row["importance"] for row in rows}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["learning_rate"] > 0.6
    assert {(row["arm"], row["search"], row["trials"]) for row in rows} == {("one", 0, 16)}


def test_equal_scores_blame_nobody() -> None:
    assert importance.rows(searched(8, lambda s: 0.5, space=space)) == []


def test_too_few_trials_no_parameters_and_an_unfinished_search_say_nothing() -> None:
    assert importance.rows(searched(3, lambda s: 0.5, space=space)) == []
    assert importance.rows(searched(5, lambda s: None if s.number % 2 else 0.5, space=space)) == []
    assert importance.rows(searched(6, lambda s: 0.5)) == []
    search = searched(6, lambda s: 0.5, space=space)
    search.arms[0].waiting.append(6)
    assert importance.rows(search) == []
