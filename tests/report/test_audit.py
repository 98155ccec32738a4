"""The audit of the search on hand-made ledgers whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vaetune.report import audit
from vaetune.report.audit_tables import audit_blocks
from vaetune.report.document import Figure, Table, Text

ARMS = {"svae": 0.1, "plain": 0.1}


def sliced(execution: Callable, finals: Sequence[float | None], early: Sequence[float] | None = None):
    """An execution whose arms' audit slices have these final scores, and these at the only rung (epoch 2)."""
    made = execution(ARMS, trials=len(finals), comparisons=[])
    ledger, history = made.ledger, made.history
    search = ledger["phase"] == "search"
    ledger.loc[search, "slice"] = "audit"
    for i, final in enumerate(finals):
        rows = search & (ledger["number"] == i)
        ledger.loc[rows, "objective"] = final
        ledger.loc[rows, "outcome"] = "failed" if final is None else "finished"
        at = history["member_id"].isin(set(ledger.loc[rows, "trial_id"])) & (history["metric"] == "val/error")
        history.loc[at, "value"] = (early or finals)[i]
        ties = history["member_id"].isin(set(ledger.loc[rows, "trial_id"])) & (history["metric"] == "val/nll_scaled")
        history.loc[ties, "value"] = 0.5
    return made


def test_a_rung_that_orders_as_the_end_does_has_rank_correlation_one_and_no_regret(execution: Callable) -> None:
    table = audit.stopping(sliced(execution, [0.3, 0.1, 0.2, 0.4, 0.5, 0.6]).assembled())
    row = table[table["arm"] == "svae"].iloc[0]
    assert (row["rung"], row["trials"], row["spearman"]) == (2, 6, pytest.approx(1))
    assert (row["regret"], row["regret_low"], row["regret_high"]) == (0, 0, 0)
    assert row["high"] == 1.0
    assert 0.3 < row["low"] < 1


def test_a_rung_that_orders_backwards_costs_the_best_trial(execution: Callable) -> None:
    made = sliced(execution, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    row = audit.stopping(made.assembled()).iloc[0]
    assert row["spearman"] == pytest.approx(-1)
    assert row["low"] == -1.0
    # The best third of six at the rung are those that end at 0.5 and 0.6; the best of all ends at 0.1.
    assert row["regret"] == pytest.approx(0.4)
    assert row["regret_low"] <= row["regret"] <= row["regret_high"]


def test_scores_to_maximize_are_ranked_the_other_way(execution: Callable) -> None:
    made = sliced(execution, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    made.study["objective"]["direction"] = "maximize"
    row = audit.stopping(made.assembled()).iloc[0]
    assert row["regret"] == pytest.approx(0.4)  # 0.6 is best; 0.1 and 0.2 go on
    curve = audit.expected_best(made.assembled())
    assert list(curve[curve["arm"] == "svae"]["mean"]) == sorted(curve[curve["arm"] == "svae"]["mean"])
    assert (curve["least"] <= curve["mean"]).all()
    assert (curve["mean"] <= curve["greatest"]).all()


def test_ties_of_the_objective_are_broken_as_in_search(execution: Callable) -> None:
    made = sliced(execution, [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5])
    assert math.isnan(audit.stopping(made.assembled()).loc[0, "spearman"])
    ids = made.ledger.loc[made.ledger["arm"] == "svae", ["trial_id", "number"]]
    for id, number in ids.itertuples(index=False):
        own = (made.history["member_id"] == id) & (made.history["metric"] == "val/nll_scaled")
        made.history.loc[own, "value"] = float(number)
    assert audit.stopping(made.assembled()).loc[0, "spearman"] == pytest.approx(1)


def test_failed_and_short_trials_are_not_in_the_correlation(execution: Callable) -> None:
    made = sliced(execution, [0.1, 0.2, 0.3, 0.4, None])
    made.ledger.loc[(made.ledger["phase"] == "search") & (made.ledger["number"] == 0), "length"] = 2
    assert audit.stopping(made.assembled()).loc[0, "trials"] == 3


def test_the_interval_of_a_rank_correlation() -> None:
    low, high = audit.rank_interval(0.5, 40)
    half = 1.959964 * math.sqrt((1 + 0.125) / 37)
    assert (math.atanh(low), math.atanh(high)) == pytest.approx((math.atanh(0.5) - half, math.atanh(0.5) + half))
    assert all(map(math.isnan, audit.rank_interval(1.0, 3)))
    assert audit.rank_interval(1.0, 4)[0] < 0  # four trials in order prove nothing
    assert audit.rank_interval(0.0, 10) == pytest.approx(tuple(-x for x in audit.rank_interval(0.0, 10)[::-1]))


def test_the_interval_covers_the_rank_correlation_of_a_normal_pair() -> None:
    rng = np.random.default_rng(0)
    r, n, hits = 0.6, 12, 0
    truth = 6 / math.pi * math.asin(r / 2)
    from scipy import stats

    for _ in range(400):
        x = rng.standard_normal(n)
        y = r * x + math.sqrt(1 - r**2) * rng.standard_normal(n)
        low, high = audit.rank_interval(stats.spearmanr(x, y).statistic, n)
        hits += low <= truth <= high
    assert 0.91 <= hits / 400 <= 0.99


def test_the_expected_best_of_k_is_that_of_draws_with_replacement(execution: Callable) -> None:
    values = [0.4, 0.1, 0.3, 0.2]
    curve = audit.expected_best(sliced(execution, values).assembled())
    own = curve[curve["arm"] == "svae"]
    assert list(own["trials"]) == [1, 2, 3, 4]
    assert own["mean"].iloc[0] == pytest.approx(np.mean(values))
    pairs = [min(a, b) for a in values for b in values]
    assert own["mean"].iloc[1] == pytest.approx(np.mean(pairs))
    assert own["greatest"].iloc[1] - own["mean"].iloc[1] == pytest.approx(np.std(pairs))
    assert (np.diff(own["mean"]) < 0).all()


def test_a_failed_draw_is_the_worst_of_any_arm(execution: Callable) -> None:
    made = sliced(execution, [0.2, 0.4])
    plain = (made.ledger["arm"] == "plain") & (made.ledger["phase"] == "search")
    made.ledger.loc[plain & (made.ledger["number"] == 0), ["objective", "outcome"]] = [np.nan, "failed"]
    curve = audit.expected_best(made.assembled()).set_index(["arm", "trials"])["mean"]
    assert curve["plain", 1] == pytest.approx(0.4)  # 0.4 and, for the failure, 0.4
    assert curve["svae", 1] == pytest.approx(0.3)


def test_no_audit_slice_gives_no_curve(execution: Callable) -> None:
    made = execution(ARMS)
    made.ledger["slice"] = made.ledger["slice"].where(made.ledger["phase"] == "select", "asha")
    assert audit.expected_best(made.assembled()).empty
    assert audit.stopping(made.assembled()).empty


def test_the_winners_curse_is_taken_on_the_same_fold(execution: Callable) -> None:
    made = execution(ARMS, trials=8, comparisons=[])
    own = made.ledger["arm"] == "svae"
    best = own & (made.ledger["phase"] == "search") & (made.ledger["config_hash"] == "svae-0-1")
    made.ledger.loc[best, "objective"] = 0.08
    again = own & (made.ledger["phase"] == "select") & (made.ledger["number"] == 0)
    made.ledger.loc[again & (made.ledger["slice"] == "fold0"), "objective"] = 0.11
    made.ledger.loc[again & (made.ledger["slice"] == "fold1"), "objective"] = 0.15
    row = audit.winners_curse(made.assembled()).iloc[0]
    assert (row["search"], row["same_fold"], row["other_fold"]) == pytest.approx((0.08, 0.11, 0.15))
    assert (row["gap"], row["fresh_seeds"]) == (pytest.approx(0.03), 1)
    assert math.isnan(row["gap_low"])  # one seed has no interval
    made.study["objective"]["direction"] = "maximize"
    assert audit.winners_curse(made.assembled()).loc[0, "gap"] == pytest.approx(-0.03)


def test_the_curse_of_several_seeds_has_their_t_interval(execution: Callable) -> None:
    made = execution(ARMS, trials=8, comparisons=[])
    made.ledger.loc[made.ledger["phase"] == "select", "slice"] = "fold0"
    rows = made.ledger[made.ledger["trial_id"].isin(["svae.s0-k0-r0", "svae.s0-k0-r1"])].index
    made.ledger.loc[rows, "objective"] = [0.10, 0.14]
    best = (made.ledger["config_hash"] == "svae-0-1") & (made.ledger["phase"] == "search")
    made.ledger.loc[best, "objective"] = 0.10
    row = audit.winners_curse(made.assembled()).iloc[0]
    assert row["gap"] == pytest.approx(0.02)
    assert row["gap_high"] - row["gap"] == pytest.approx(12.7062 * 0.02, rel=1e-4)  # t(1) · SE
    made.ledger.loc[rows[1:], ["objective", "outcome"]] = [np.nan, "failed"]
    row = audit.winners_curse(made.assembled()).iloc[0]
    assert (row["fresh_seeds"], row["failed"], row["gap"]) == (1, 1, pytest.approx(0.0))


def test_the_section_names_its_evaluator_and_its_slice(execution: Callable) -> None:
    import pandas as pd

    made = execution(ARMS)
    shares = [("svae", "beta", 0.75), ("svae", "epochs", 0.25), ("plain", "epochs", 1.0)]
    columns = {"search": 0, "trials": 9, "evaluator": "PED-ANOVA"}
    made.optional["importance"] = pd.DataFrame(
        [{"arm": arm, "parameter": name, "importance": share} | columns for arm, name, share in shares]
    )
    *_, table = audit_blocks(made.assembled())
    assert isinstance(table, Table)
    assert list(table.columns) == ["Arm", "Trials", "epochs", "Of its own"]
    assert table.cells() == [["svae", "9", "25", "beta 75"], ["plain", "9", "100", "–"]]
    assert "PED-ANOVA" in table.note
    blocks = audit_blocks(execution(ARMS).assembled())
    assert isinstance(blocks[-1], Text)
    (curve,) = (block for block in blocks if isinstance(block, Figure))
    assert "independent draws only" in curve.note
