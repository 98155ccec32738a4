from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from vaetune.tracking import about, charted, limits, links, note


def unpacked(text: str) -> dict[str, Any]:
    packed = json.loads(text)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


@pytest.fixture
def study() -> dict[str, Any]:
    return {
        "name": "ablation",
        "hypothesis": "The noise does the work.",
        "dataset_info": {"name": "digits", "n_train": 1000, "n_validation": 200, "test": 500},
        "objective": {"metric": "val/error", "direction": "minimize", "tie": "val/nll_scaled"},
        "budget": {"trials": 16},
        "replication": {"n": 10},
        "arms": [
            {"name": "svae", "summary": "noise | KL", "space": [{"name": "beta"}, {"name": "lr"}]},
            {"name": "plain", "summary": "neither", "space": []},
        ],
        "comparisons": [{"name": "svae − plain", "question": "Does it help?"}],
    }


def test_note_states_hypothesis_arms_and_comparisons(study: dict[str, Any]) -> None:
    text = note(study)
    assert "The noise does the work." in text
    assert "| `svae` | noise \\| KL | `beta`, `lr` |" in text
    assert "| `plain` | neither | nothing |" in text
    assert "- svae − plain: Does it help?" in text


def test_note_without_comparisons_has_no_empty_section(study: dict[str, Any]) -> None:
    assert "Declared" not in note({**study, "comparisons": []})


def test_views_are_as_mlflow_stores_them(study: dict[str, Any]) -> None:
    tags = about(study)
    assert tags["mlflow.note.content"] == note(study)
    states = {}
    for key, text in tags.items():
        assert len(text) < limits.EXPERIMENT_TAG
        if key.startswith("mlflow.sharedViewState."):
            view = json.loads(text)
            assert set(view) == {"name", "createdAt", "updatedAt", "state"}
            states[key.removeprefix("mlflow.sharedViewState.")] = unpacked(text)
    assert set(states) == {"vaetune-arms", "vaetune-trials", "vaetune-replicates"}
    assert states["vaetune-arms"]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "vaetune.arm"}]
    assert states["vaetune-trials"]["orderByKey"] == "metrics.`val/error`"
    assert states["vaetune-trials"]["orderByAsc"] is True
    assert states["vaetune-replicates"]["searchFilter"] == "tags.`vaetune.kind` = 'replicate'"
    assert "metrics.`test/nll`" in states["vaetune-replicates"]["selectedColumns"]


def test_a_maximised_objective_is_sorted_downwards(study: dict[str, Any]) -> None:
    tags = about({**study, "objective": {"metric": "val/elbo", "direction": "maximize", "tie": "val/nll"}})
    state = unpacked(tags["mlflow.sharedViewState.vaetune-trials"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val/elbo`", False)


def test_replicates_that_label_nothing_are_shown_by_their_bounds(study: dict[str, Any]) -> None:
    tags = about({**study, "objective": {"metric": "val/elbo", "direction": "maximize", "tie": "val/loss"}})
    state = unpacked(tags["mlflow.sharedViewState.vaetune-replicates"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test/neg_elbo`", True)
    assert not any("error`" in column and "squared" not in column for column in state["selectedColumns"])


def test_links_lead_to_the_views(study: dict[str, Any]) -> None:
    urls = links("http://me:secret@host:5001/", "42")
    for url in urls.values():
        assert url.startswith("http://host:5001/#/experiments/42/runs?workflowType=machine_learning&viewStateShareKey=")
    keys = {url.partition("viewStateShareKey=")[2].partition("&")[0]: url for url in urls.values()}
    assert {f"mlflow.sharedViewState.{key}" for key in keys} == set(about(study)) - {"mlflow.note.content"}
    assert ["compareRunsMode=CHART" in url for url in keys.values()].count(True) == 1
    assert "compareRunsMode=CHART" in keys["vaetune-arms"]


def test_links_of_a_database_lead_to_the_local_page() -> None:
    assert all("//127.0.0.1:5000/#/" in url for url in links("sqlite:////a/mlflow.db", "1").values())


def test_the_view_of_the_arms_holds_no_more_runs_than_the_page_loads(study: dict[str, Any]) -> None:
    assert [charted(arms) for arms in (1, 3, 14, 100, 1000)] == [100, 33, 7, 1, 1]
    assert all(arms * charted(arms) <= 100 for arms in range(1, 101))
    many = {**study, "arms": study["arms"] * 7}
    title = json.loads(about(many)["mlflow.sharedViewState.vaetune-arms"])["name"]
    assert title == "Arms: mean curves of the first 7 replicates"
    assert (
        unpacked(about(study)["mlflow.sharedViewState.vaetune-arms"])["searchFilter"]
        == "tags.`vaetune.charted` = 'true'"
    )


def test_curves_come_first_and_are_not_smoothed(study: dict[str, Any]) -> None:
    state = unpacked(about(study)["mlflow.sharedViewState.vaetune-arms"])
    charts = state["compareRunCharts"]
    assert [chart["metricKey"] for chart in charts[:3]] == ["val/error", "val/nll_scaled", "train/loss"]
    assert {chart["lineSmoothness"] for chart in charts[:3]} == {0}
    assert {chart["metricSectionId"] for chart in charts} == {
        section["uuid"] for section in state["compareRunSections"]
    }


def test_the_note_leads_to_a_report_that_is_there(study: dict[str, Any]) -> None:
    assert "](#/experiments/1/runs/abc/artifacts/report/report.html)" in note({**study, "run": "R"}, ("1", "abc"))
    assert "](" not in note(study)
