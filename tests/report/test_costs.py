from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from vaetune.report import costs

ARMS = {"svae": 0.10, "plain": 0.15}


def set_winner(made, **params: float) -> None:
    own = made.ledger["config_hash"] == "svae-0-7"
    made.ledger.loc[own & (made.ledger["phase"] == "search"), "params"] = json.dumps(params)


def test_the_ledger_counts_and_sums_by_arm(execution: Callable) -> None:
    evidence = execution(ARMS, trials=8, epochs=6, n=4).assembled()
    row = costs.ledger(evidence).set_index("arm").loc["svae"]
    assert (row["trials"], row["finished"], row["stopped"], row["failed"]) == (8, 6, 2, 0)
    assert (row["search_epochs"], row["select_epochs"], row["replicate_epochs"]) == (6 * 6 + 2 * 3, 24, 24)
    assert row["search_seconds"] == pytest.approx(0.4 * row["search_epochs"])
    assert row["replicate_seconds"] == pytest.approx(10.0)
    assert (row["hyperparameters"], row["contains_plain"]) == (2, True)


def test_the_winner_at_half_and_at_full_budget(execution: Callable) -> None:
    # Re-seeded were trials 1 (validation error 0.11) and 7 (0.10); only the former is in the first half of 8.
    row = costs.ledger(execution(ARMS, trials=8).assembled()).set_index("arm").loc["svae"]
    assert row["half_budget"] == pytest.approx(0.11)
    assert row["full_budget"] == pytest.approx(0.10)


def test_a_reseeded_run_that_failed_counts_as_the_worst(execution: Callable) -> None:
    made = execution(ARMS, trials=8)
    made.ledger.loc[made.ledger["trial_id"] == "svae.s0-k1-r0", "objective"] = np.nan
    assert costs.ledger(made.assembled()).loc[0, "full_budget"] == pytest.approx((0.11 + 0.10) / 2)


def test_the_winner_of_an_objective_to_maximize(execution: Callable) -> None:
    made = execution(ARMS, trials=8)
    made.study["objective"]["direction"] = "maximize"
    assert costs.ledger(made.assembled()).loc[0, "full_budget"] == pytest.approx(0.11)


def test_no_reseeded_winner_of_the_first_half_is_missing_and_not_guessed(execution: Callable) -> None:
    made = execution(ARMS)
    made.ledger = made.ledger[~((made.ledger["phase"] == "select") & made.ledger["config_hash"].str.endswith("-1"))]
    table = costs.ledger(made.assembled())
    assert np.isnan(table["half_budget"]).all()
    assert np.isfinite(table["full_budget"]).all()


def flags(made) -> list[str]:
    evidence = made.assembled()
    return costs.flags(evidence, costs.ledger(evidence))


def test_a_quiet_execution_raises_no_flag(execution: Callable) -> None:
    made = execution(ARMS)
    set_winner(made, beta=0.01, epochs=30)
    assert flags(made) == []


@pytest.mark.parametrize(
    ("beta", "end"),
    [(1.21e-4, None), (1.19e-4, "lower"), (1e-4, "lower"), (0.82, None), (0.85, "upper"), (1.0, "upper")],
)
def test_a_winner_within_two_per_cent_of_a_log_range_is_flagged(
    execution: Callable, beta: float, end: str | None
) -> None:
    made = execution(ARMS)
    set_winner(made, beta=beta)
    found = flags(made)
    assert len(found) == (end is not None)
    if end:
        assert found[0].startswith("svae: beta = ")
        assert f"at the {end} end of 0.000100 to 1 (log scale): widen this space." in found[0]


@pytest.mark.parametrize(("value", "flagged"), [(0.0, True), (0.019, True), (0.021, False), (0.979, False), (1, True)])
def test_a_linear_range(execution: Callable, value: float, flagged: bool) -> None:
    made = execution(ARMS)
    made.study["arms"][0]["space"] = [{"name": "rate", "kind": "float", "low": 0.0, "high": 1.0, "log": False}]
    set_winner(made, rate=value)
    assert bool(flags(made)) == flagged


def test_a_configuration_that_the_ledger_lacks_is_said_to_be_unchecked(execution: Callable) -> None:
    made = execution(ARMS)
    made.replicates.loc[made.replicates["arm"] == "plain", "config_hash"] = "elsewhere"
    assert any("plain: the ledger does not hold the replicated configuration" in flag for flag in flags(made))


def test_failures_and_unequal_budgets_are_counted(execution: Callable, fail_replicate: Callable) -> None:
    made = execution(ARMS)
    fail_replicate(made, "plain-rep02", "diverged")
    made.ledger = made.ledger[made.ledger["trial_id"] != "svae.s0-0005"]
    search = (made.ledger["arm"] == "plain") & (made.ledger["phase"] == "search")
    made.ledger.loc[search, "outcome"] = "stopped"
    made.ledger.loc[search & (made.ledger["number"] == 0), ["outcome", "reason"]] = ["failed", "out of memory"]
    found = flags(made)
    assert "The arms spent unequal numbers of trials: svae 7, plain 8." in found
    assert "plain: no search trial ran to its end; its configuration was not chosen by a search." in found
    assert "plain: 1 of 8 trials failed (out of memory)." in found
    assert "plain: 1 of 6 replicates failed (diverged); each scores chance error, 90.00 %." in found
