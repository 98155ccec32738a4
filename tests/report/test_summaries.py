from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vaetune.report import comparisons, summaries
from vaetune.report.contrasts import contrasts
from vaetune.report.evidence import Evidence
from vaetune.report.statistics import two_way

ARMS = {"svae": 0.10, "plain": 0.15, "dropout": 0.12}


def judged(evidence: Evidence) -> list[comparisons.Verdict]:
    return comparisons.judge(contrasts(evidence), evidence.errors, evidence.search, evidence.margin)


def test_the_arm_table_holds_the_two_way_interval_and_the_t_interval(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    row = summaries.arms(evidence).set_index("arm").loc["plain"]
    estimate = two_way(evidence.errors["plain"])
    assert row["test/error"] == pytest.approx(evidence.errors["plain"].mean())
    assert (row["test/error_low"], row["test/error_high"]) == pytest.approx(estimate.interval())
    brier = evidence.of("plain")["test/brier"]
    assert row["test/brier"] == pytest.approx(brier.mean())
    assert row["test/brier_half"] == pytest.approx(stats.t.ppf(0.975, 5) * stats.sem(brier))
    assert row["parameters"] == 269_322


def test_a_metric_that_an_arm_lacks_is_missing(execution: Callable) -> None:
    table = summaries.arms(execution(ARMS).assembled()).set_index("arm")
    assert np.isnan(table.loc["svae", "scale/sigma_rms"])  # the first arm has no σ
    assert table.loc["plain", "scale/sigma_rms"] == pytest.approx(0.1, abs=0.01)


def test_failed_replicates_count_in_errors_and_not_in_scales(execution: Callable, fail_replicate: Callable) -> None:
    made = execution(ARMS)
    fail_replicate(made, "plain-rep02")
    row = summaries.arms(made.assembled()).set_index("arm").loc["plain"]
    assert (row["replicates"], row["failed"]) == (6, 1)
    assert row["test/error"] == pytest.approx((5 * 0.15 + 0.9) / 6, abs=0.01)
    assert row["test/error_iqm"] == pytest.approx(0.15, abs=0.01)
    assert row["scale/mu_rms"] == pytest.approx(0.9, abs=0.05)


def test_published_values_stand_beside_their_arm_only(execution: Callable) -> None:
    made = execution(ARMS)
    made.study["published"] = {"plain": {"one": 0.138, "two": 0.140}}
    evidence = made.assembled()
    table = summaries.published(evidence, summaries.arms(evidence))
    assert table[["arm", "source", "published"]].to_numpy().tolist() == [
        ["plain", "one", 0.138],
        ["plain", "two", 0.14],
    ]
    assert list(table["test/error"]) == pytest.approx([evidence.errors["plain"].mean()] * 2)


def test_curves_are_means_and_ranges_over_replicates(execution: Callable) -> None:
    made = execution(ARMS, epochs=4)
    own = made.history["member_id"].str.startswith("plain") & (made.history["epoch"] == 3)
    made.history.loc[own, "value"] = [0.1, 0.2, 0.3, 0.4, 0.5, np.nan]
    curves = summaries.curves(made.assembled())
    row = curves[(curves["arm"] == "plain") & (curves["epoch"] == 3)].iloc[0]
    assert (row["mean"], row["least"], row["greatest"], row["replicates"]) == pytest.approx((0.3, 0.1, 0.5, 5))
    assert list(curves["arm"].drop_duplicates()) == list(ARMS)
    assert list(summaries.at_epochs(curves, most=2).columns) == ["arm", "epoch 1", "epoch 4"]


def test_search_members_do_not_enter_the_curves(execution: Callable) -> None:
    made = execution(ARMS)
    expected = summaries.curves(made.assembled())
    made.history = pd.concat([made.history, made.history.assign(member_id="plain-0001", value=0.0)])
    pd.testing.assert_frame_equal(summaries.curves(made.assembled()), expected)


def test_the_spread_of_replicates(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    row = summaries.replicates(evidence).set_index("arm").loc["plain"]
    means = evidence.errors["plain"].mean(axis=1)
    assert (row["least"], row["median"], row["greatest"]) == (means.min(), np.median(means), means.max())


def test_secondary_metrics_are_paired_and_adjusted_over_the_table(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    table = summaries.secondary(evidence, contrasts(evidence))
    assert len(table) == 2 * len(summaries.SECONDARY)
    row = table[(table["comparison"] == "svae − plain") & (table["metric"] == "gap/error")].iloc[0]
    oracle = stats.ttest_rel(evidence.of("svae")["gap/error"], evidence.of("plain")["gap/error"])
    assert row["p"] == pytest.approx(oracle.pvalue)
    assert list(table["p_adjusted"]) == pytest.approx(list(stats.false_discovery_control(table["p"])))
    nll = table[(table["comparison"] == "svae − plain") & (table["metric"] == "test/nll")].iloc[0]
    assert nll["p"] == pytest.approx(two_way(evidence.nll["svae"] - evidence.nll["plain"]).p)


def test_secondary_metrics_leave_out_replicates_without_a_value(execution: Callable, fail_replicate: Callable) -> None:
    made = execution(ARMS)
    fail_replicate(made, "plain-rep02")
    evidence = made.assembled()
    table = summaries.secondary(evidence, contrasts(evidence)).set_index(["comparison", "metric"])
    assert table.loc[("svae − plain", "test/ece"), "rows"] == 5
    assert table.loc[("svae − dropout", "test/ece"), "rows"] == 6


def test_a_metric_that_no_replicate_has_is_left_out(execution: Callable) -> None:
    made = execution(ARMS)
    made.replicates = made.replicates.drop(columns="test/brier")
    evidence = made.assembled()
    assert "test/brier" not in set(summaries.secondary(evidence, contrasts(evidence))["metric"])


def test_a_smaller_gap_is_named_unless_the_test_error_is_lower(execution: Callable) -> None:
    made = execution({"svae": 0.12, "plain": 0.12, "bad": 0.30})
    made.replicates.loc[made.replicates["arm"] == "svae", "gap/error"] -= 0.05
    evidence = made.assembled()
    verdicts = judged(evidence)
    assert verdicts[0].outcome != "better"
    assert verdicts[1].outcome == "better"
    table = summaries.secondary(evidence, contrasts(evidence))
    assert summaries.smaller_gaps(verdicts, table) == ["svae − plain"]
