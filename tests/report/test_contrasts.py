from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vaetune.errors import UserError
from vaetune.report.contrasts import contrasts

ARMS = {"svae": 0.10, "plain": 0.15, "dropout": 0.12}
BEST = {"name": "svae − best", "question": "?", "weights": [["svae", 1.0], [["best_of", ["plain", "dropout"]], -1.0]]}


def test_the_contrast_pairs_replicates_and_examples(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    contrast = contrasts(evidence)[0]
    np.testing.assert_array_equal(contrast.values, evidence.errors["svae"] - evidence.errors["plain"])
    assert contrast.pair == ("svae", "plain")


def test_only_one_against_one_is_a_pair(execution: Callable) -> None:
    weights = [["svae", 1.0], ["plain", -0.5], ["dropout", -0.5]]
    contrast = contrasts(execution(ARMS, comparisons=[{"name": "x", "question": "", "weights": weights}]).assembled())[
        0
    ]
    assert contrast.pair is None


def test_best_of_is_resolved_on_validation_and_not_on_test(execution: Callable) -> None:
    made = execution(ARMS, comparisons=[BEST])
    made.replicates.loc[made.replicates["arm"] == "plain", "val/error"] = 0.01  # best on validation, worst on test
    contrast = contrasts(made.assembled())[0]
    assert contrast.weights == (("svae", 1.0), ("plain", -1.0))
    assert "best of plain, dropout by the replicates' validation error is plain (plain 1.00 %" in contrast.resolved


def test_ties_on_validation_go_to_the_scaled_nll(execution: Callable) -> None:
    made = execution(ARMS, comparisons=[BEST])
    made.replicates["val/error"] = 0.1
    made.replicates["val/nll_scaled"] = np.where(made.replicates["arm"] == "dropout", 0.3, 0.4)
    assert contrasts(made.assembled())[0].weights[1][0] == "dropout"


def test_best_of_needs_a_validation_score(execution: Callable) -> None:
    made = execution(ARMS, comparisons=[BEST])
    made.replicates.loc[made.replicates["replicate_id"] == "dropout-rep02", "val/error"] = np.nan
    with pytest.raises(UserError, match="val/error of dropout-rep02"):
        contrasts(made.assembled())


def refit(execution: Callable):
    """Replicates fitted on the validation images: they have no validation score, or chance where they failed."""
    made = execution(ARMS, comparisons=[BEST])
    made.study["replication"]["refit"] = True
    made.replicates[["val/error", "val/nll_scaled"]] = np.nan
    return made


def test_best_of_refitted_replicates_is_resolved_by_their_reseeded_winners(execution: Callable) -> None:
    made = refit(execution)
    chosen = (made.ledger["config_hash"] == "plain-0-7") & (made.ledger["phase"] == "select")
    made.ledger.loc[chosen, "objective"] = [0.01, np.nan]  # a seed that failed counts as chance
    assert contrasts(made.assembled())[0].weights[1][0] == "dropout"
    made.ledger.loc[chosen, "objective"] = 0.01
    contrast = contrasts(made.assembled())[0]
    assert contrast.weights[1][0] == "plain"
    assert "by its re-seeded winner's validation error is plain (plain 1.00 %" in contrast.resolved


def test_refitted_replicates_have_no_validation_score_even_where_they_failed(execution: Callable) -> None:
    made = refit(execution)
    made.replicates.loc[0, ["outcome", "val/error"]] = ["failed", 0.9]
    made.replicates.loc[0, "test/error"] = 0.9
    assert made.assembled().replicates["val/error"].isna().all()


@pytest.mark.parametrize("lost", ["select phase", "objective"])
def test_best_of_refitted_replicates_needs_scores_of_the_select_phase(execution: Callable, lost: str) -> None:
    made = refit(execution)
    if lost == "objective":
        made.study["objective"]["metric"] = "val/nll"
    else:
        made.ledger = made.ledger[made.ledger["phase"] != "select"]
    with pytest.raises(UserError, match="name the arm in the comparison"):
        contrasts(made.assembled())


def test_a_comparison_of_an_unknown_arm_names_the_near_one(execution: Callable) -> None:
    made = execution(ARMS, comparisons=[{"name": "x", "question": "", "weights": [["svea", 1.0], ["plain", -1.0]]}])
    with pytest.raises(UserError, match="'svae'"):
        contrasts(made.assembled())
