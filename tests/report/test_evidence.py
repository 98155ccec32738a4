from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vaetune.errors import UserError
from vaetune.report.evidence import gather
from vaetune.storage import Storage

ARMS = {"svae": 0.10, "plain": 0.15, "dropout": 0.12}


def test_losses_are_one_minus_correct_in_order_of_replicate_and_example(execution: Callable) -> None:
    made = execution(ARMS)
    shuffled = made.predictions.sample(frac=1, random_state=0)
    expected = made.predictions.query("replicate_id == 'plain-rep03' and evaluation == 'mean'")
    made.predictions, made.replicates = shuffled, made.replicates.sample(frac=1, random_state=1)
    evidence = made.assembled()
    assert evidence.errors["plain"].shape == (6, 200)
    np.testing.assert_array_equal(evidence.errors["plain"][3], 1.0 - expected["correct"])
    np.testing.assert_array_equal(evidence.nll["plain"][3], expected["log_loss"])
    assert list(evidence.of("plain")["replicate"]) == [0, 1, 2, 3, 4, 5]


def test_a_failed_replicate_scores_chance_on_every_example(execution: Callable, fail_replicate: Callable) -> None:
    made = execution(ARMS)
    fail_replicate(made, "dropout-rep01")
    evidence = made.assembled()
    assert (evidence.errors["dropout"][1] == 0.9).all()
    assert evidence.nll["dropout"][1] == pytest.approx(np.log(10))
    row = evidence.of("dropout").iloc[1]
    assert row["failed"]
    assert row["val/error"] == pytest.approx(0.9)


def test_all_replicates_of_all_arms_may_fail(execution: Callable, fail_replicate: Callable) -> None:
    made = execution(ARMS, n=2, m=50)
    for name in made.replicates["replicate_id"]:
        fail_replicate(made, name)
    assert made.assembled().errors["svae"].shape == (2, 50)


def test_what_a_resumed_execution_wrote_twice_counts_once(execution: Callable) -> None:
    made = execution(ARMS)
    expected = made.assembled()
    again = made.predictions[made.predictions["replicate_id"] == "svae-rep00"]
    made.predictions = pd.concat([again.assign(correct=~again["correct"]), made.predictions])
    made.replicates = pd.concat([made.replicates.head(1).assign(seconds=9.0), made.replicates])
    made.ledger = pd.concat([made.ledger, made.ledger.head(3)])
    evidence = made.assembled()
    np.testing.assert_array_equal(evidence.errors["svae"], expected.errors["svae"])
    assert len(evidence.replicates) == 18
    assert len(evidence.ledger) == len(expected.ledger)


def spoil_ledger(made) -> None:
    made.ledger = made.ledger.iloc[:0]


def lose_arm(made) -> None:
    made.replicates = made.replicates[made.replicates["arm"] != "plain"]


def lose_replicate(made) -> None:
    made.replicates = made.replicates[made.replicates["replicate_id"] != "plain-rep04"]


def double_replicate(made) -> None:
    extra = made.replicates[made.replicates["replicate_id"] == "plain-rep04"].assign(replicate_id="plain-rep99")
    made.replicates = pd.concat([made.replicates, extra])


def other_search(made) -> None:
    made.replicates.loc[made.replicates["replicate_id"] == "plain-rep04", "search"] = 1


def nan_error(made) -> None:
    made.replicates.loc[made.replicates["replicate_id"] == "plain-rep04", "test/error"] = np.nan


def lose_predictions(made) -> None:
    made.predictions = made.predictions[made.predictions["replicate_id"] != "plain-rep04"]


def lose_prediction(made) -> None:
    gone = (made.predictions["replicate_id"] == "plain-rep04") & (made.predictions["example"] == 17)
    made.predictions = made.predictions[~gone]


def nan_prediction(made) -> None:
    bad = (made.predictions["replicate_id"] == "plain-rep04") & (made.predictions["example"] == 17)
    made.predictions.loc[bad, "log_loss"] = np.nan


def lose_example(made) -> None:
    made.predictions = made.predictions[made.predictions["example"] != 17]


def disagree(made) -> None:
    made.replicates.loc[made.replicates["replicate_id"] == "plain-rep04", "test/error"] += 0.005


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_ledger, "ledger is empty"),
        (lose_arm, "no row of arm 'plain'"),
        (lose_replicate, "arm 'plain' has no replicate 4"),
        (double_replicate, "two replicates of one number"),
        (other_search, "replicate 4 of search"),
        (nan_error, "test/error of plain-rep04 is not a finite number"),
        (lose_predictions, "nothing of replicate plain-rep04"),
        (lose_prediction, "replicate plain-rep04 has no finite loss for test example 17"),
        (nan_prediction, "replicate plain-rep04 has no finite loss for test example 17"),
        (lose_example, "holds 199 test examples, study.json says 200"),
        (disagree, "replicate plain-rep04: table replicates says test/error"),
    ],
)
def test_what_is_odd_is_named(execution: Callable, spoil: Callable, message: str) -> None:
    made = execution(ARMS)
    spoil(made)
    with pytest.raises(UserError, match=message):
        made.assembled()


def test_gather_reads_what_was_written(execution: Callable, tmp_path: Path) -> None:
    made = execution(ARMS, n=3, m=40)
    made.write(Storage(tmp_path))
    read, expected = gather(Storage(tmp_path)), made.assembled()
    assert read.study == made.study
    for arm in ARMS:
        np.testing.assert_array_equal(read.errors[arm], expected.errors[arm])
    pd.testing.assert_series_equal(read.replicates["test/ece"], expected.replicates["test/ece"])


def test_a_folder_that_is_no_execution_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no study\.json"):
        gather(Storage(tmp_path))
