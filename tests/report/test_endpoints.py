"""Studies of models that predict no labels: the report follows their endpoint, in its unit and direction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vaetune import endpoints
from vaetune.errors import UserError
from vaetune.report import summaries
from vaetune.report.comparisons import judge
from vaetune.report.contrasts import contrasts
from vaetune.report.evidence import Evidence
from vaetune.report.primary import Primary
from vaetune.report.render import render
from vaetune.report.statistics import over_rows, two_way
from vaetune.storage import Storage

N, M = 6, 200
OF_LABELS = ["predicted", "correct", "log_loss", "confidence"]


def generative(execution: Callable, arms: dict[str, float], endpoint: endpoints.Endpoint = endpoints.NEG_ELBO) -> Any:
    """The synthetic execution as VAEs would leave it: no labels; `arms` are expected values of the endpoint."""
    made = execution(dict.fromkeys(arms, 0.1), n=N, m=M)
    rng = np.random.default_rng(0)
    shared, hard = 0.3 * rng.standard_normal(N), 5 * rng.random(M)
    made.study |= {"endpoint": asdict(endpoint), "margin": 0.5}
    made.study["objective"] = {"metric": "val/elbo", "direction": "maximize", "unit": "nats", "tie": "val/kl"}
    made.predictions = made.predictions[made.predictions["evaluation"] == "mean"].drop(columns=OF_LABELS)
    columns = [c for c in made.replicates if "/" in c and not c.startswith(("latent", "rate"))]
    made.replicates = made.replicates.drop(columns=columns)
    for i, (arm, own) in enumerate(zip(made.replicates["replicate_id"], made.replicates["arm"], strict=True)):
        loss = (arms[own] + shared[i % N] + hard + 0.1 * rng.standard_normal(M)).astype(np.float32)
        rows = made.predictions["replicate_id"] == arm
        made.predictions.loc[rows, "elbo"] = -loss
        made.predictions.loc[rows, "squared_error"] = loss / 1000
        at = made.replicates["replicate_id"] == arm
        value = {"test/squared_error": loss.mean() / 1000, "test/mig": arms[own] / 100 + 0.01 * shared[i % N]}
        value |= {"test/neg_elbo": loss.mean(), "test/neg_iwae": loss.mean() - 1, "val/neg_elbo": loss.mean() + 0.5}
        for name, number in value.items():
            made.replicates.loc[at, name] = number
    made.history = made.history.assign(metric="val/elbo", value=-100.0)
    made.ledger = made.ledger.assign(objective=-100.0)
    return made


def fail(made: Any, id: str) -> None:
    row = made.replicates["replicate_id"] == id
    made.replicates.loc[row, [c for c in made.replicates if "/" in c]] = np.nan
    made.replicates.loc[row, ["outcome", "reason"]] = ["failed", "bounds are not finite"]
    made.predictions = made.predictions[made.predictions["replicate_id"] != id]


def judged(evidence: Evidence) -> Any:
    given = contrasts(evidence), evidence.errors, evidence.search, evidence.margin, evidence.endpoint
    (verdict,) = judge(*given)
    return verdict


def test_nats_are_compared_by_the_two_way_interval(execution: Callable) -> None:
    evidence = generative(execution, {"beta4": 103.0, "plain": 101.0}).assembled()
    assert evidence.errors["plain"].shape == (N, M)
    assert evidence.nll == {}
    assert evidence.margin == 0.5
    verdict = judged(evidence)
    expected = two_way(evidence.errors["beta4"] - evidence.errors["plain"])
    assert verdict.estimate.mean == pytest.approx(expected.mean)
    assert verdict.estimate.interval() == pytest.approx(expected.interval())
    assert verdict.outcome == "worse"
    assert "the negative test ELBO is higher by 2.0" in verdict.sentence
    assert " nats per image (95 % interval " in verdict.sentence
    assert verdict.relative_reduction is None  # bounds have no zero


def test_squared_errors_are_printed_in_thousandths(execution: Callable) -> None:
    evidence = generative(execution, {"a": 50.0, "b": 40.0}, endpoints.SQUARED_ERROR).assembled()
    assert evidence.margin == pytest.approx(0.0005)
    verdict = judged(evidence)
    assert f"squared test error per pixel is higher by {1000 * verdict.estimate.mean:.2f} × 10⁻³" in verdict.sentence


def test_what_is_no_mean_over_images_is_compared_by_t_over_replicates_and_says_so(execution: Callable) -> None:
    evidence = generative(execution, {"beta": 30.0, "plain": 20.0}, endpoints.MIG).assembled()
    assert evidence.errors["plain"].shape == (N,)
    verdict = judged(evidence)
    expected = over_rows(evidence.errors["beta"] - evidence.errors["plain"])
    assert verdict.estimate.interval() == pytest.approx(expected.interval())
    assert verdict.estimate.examples == 0
    assert verdict.outcome == "better"  # larger is
    assert verdict.probability_of_improvement == 1.0
    assert math.isnan(verdict.bootstrap[0])
    assert "by t over replicates, conditional on the test set" in verdict.sentence


def test_a_failed_replicate_is_the_worst_of_the_study_image_by_image(execution: Callable) -> None:
    made = generative(execution, {"a": 101.0, "b": 103.0})
    fail(made, "a-rep02")
    evidence = made.assembled()
    others = np.concatenate([np.delete(evidence.errors["a"], 2, axis=0), evidence.errors["b"]])
    np.testing.assert_array_equal(evidence.errors["a"][2], others.max(axis=0))
    row = summaries.arms(evidence).set_index("arm").loc["a"]
    assert (row["failed"], row["replicates"]) == (1, N)
    assert row["test/neg_elbo"] == pytest.approx(evidence.errors["a"].mean())


def test_a_failed_replicate_has_the_least_of_what_is_better_when_it_is_large(execution: Callable) -> None:
    made = generative(execution, {"a": 30.0, "b": 20.0}, endpoints.MIG)
    fail(made, "a-rep02")
    evidence = made.assembled()
    assert evidence.errors["a"][2] == evidence.errors["b"].min()


def test_nothing_finished_or_nothing_measured_is_refused(execution: Callable) -> None:
    made = generative(execution, {"a": 30.0, "b": 20.0})
    for id in made.replicates["replicate_id"]:
        fail(made, id)
    with pytest.raises(UserError, match="no replicate finished, so nothing has a negative test ELBO"):
        made.assembled()
    made = execution({"a": 0.1, "b": 0.2})
    made.study["endpoint"] = asdict(endpoints.NEG_ELBO)
    with pytest.raises(UserError, match="table replicates has no test/neg_elbo"):
        made.assembled()


def test_bounds_that_disagree_with_the_predictions_are_refused(execution: Callable) -> None:
    made = generative(execution, {"a": 30.0, "b": 20.0})
    made.replicates.loc[0, "test/neg_elbo"] += 0.1
    with pytest.raises(UserError, match=r"a-rep00: table replicates says test/neg_elbo .* predictions say"):
        made.assembled()


def test_best_of_follows_the_endpoint(execution: Callable) -> None:
    made = generative(execution, {"a": 101.0, "b": 103.0, "c": 102.0})
    weights = [[["best_of", ["b", "c"]], 1.0], ["a", -1.0]]
    made.study["comparisons"] = [{"name": "best − a", "question": "", "weights": weights}]
    (contrast,) = contrasts(made.assembled())
    assert contrast.pair == ("c", "a")
    assert "by the replicates' negative validation ELBO is c" in contrast.resolved


def test_bounds_of_unlike_likelihoods_are_not_compared(execution: Callable) -> None:
    made = generative(execution, {"a": 50.0, "b": 40.0}, endpoints.SQUARED_ERROR)
    everything = summaries.secondary(made.assembled(), contrasts(made.assembled()))
    made.study["arms"][1]["overrides"] = {"model.likelihood": "gaussian"}
    evidence = made.assembled()
    assert set(everything["metric"]) == {"test/neg_elbo", "test/neg_iwae", "val/neg_elbo", "test/mig"}
    assert set(summaries.secondary(evidence, contrasts(evidence))["metric"]) == {"test/mig"}


def test_the_model_card_begins_with_the_endpoint(execution: Callable) -> None:
    from vaetune.tracking.card import card

    for endpoint in (endpoints.NEG_ELBO, endpoints.MIG):
        made = generative(execution, {"a": 30.0, "b": 40.0}, endpoint)
        row = summaries.arms(made.assembled()).set_index("arm").loc["a"].to_dict()
        text = card(made.study, made.study["arms"][0], row, "a-rep00", 10, ["encoder"])
        assert f"| {endpoint.name} | {row[endpoint.metric]:.4f} | {row[f'{endpoint.metric}_low']:.4f} to" in text
        assert "| test −IWAE bound, nats |" in text


@pytest.mark.parametrize("endpoint", endpoints.CATALOGUE.values(), ids=lambda e: e.metric)
def test_words_of_every_endpoint(endpoint: endpoints.Endpoint) -> None:
    shown = Primary(**asdict(endpoint))
    assert shown.column.endswith(f", {endpoint.values}")
    assert shown.value(1.5 / endpoint.scale) == "1.50"
    assert shown.difference(-1.5 / endpoint.scale) == "−1.50"
    assert shown.interval(float("nan"), 1.0) == "–"


@pytest.mark.parametrize("endpoint", [endpoints.NEG_ELBO, endpoints.SQUARED_ERROR, endpoints.MIG])
def test_the_whole_report_speaks_of_the_endpoint(
    execution: Callable, endpoint: endpoints.Endpoint, tmp_path: Path
) -> None:
    made = generative(execution, {"a": 30.0, "b": 40.0}, endpoint)
    fail(made, "b-rep01")
    made.write(Storage(tmp_path))
    render(Storage(tmp_path))
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"### Differences in {endpoint.name}, with 95 % intervals" in text
    assert f"| Comparison | Difference, {endpoint.unit} |" in text
    assert "b: 1 of 6 replicates failed (bounds are not finite); each counts as the worst of all replicates" in text
    assert "6 (1 failed)" in text
    assert "### val/elbo of the replicates by epoch" in text
    for word in ("test error is", "Hard-label", "chance error", "regularization.", "cross-entropy", "nan"):
        assert word not in text.replace("finance", "")
    arms = pd.read_csv(tmp_path / "report" / "arms.csv")
    assert endpoint.metric in arms
    assert (tmp_path / "report" / "report.html").stat().st_size > 1_000_000
