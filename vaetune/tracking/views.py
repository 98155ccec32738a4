"""How a study looks in MLflow: the experiment's note, three saved views, and links to them.

The format of saved views is internal to MLflow's web page (read off 3.17): a tag `mlflow.sharedViewState.<key>` holding
JSON with the page's deflated state. A page of another version ignores a view that it does not understand.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any

from vaetune.tracking import address

LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow server --backend-store-uri sqlite:///…` serves the runs of a local database."""

ARMS, TRIALS, REPLICATES = "vaetune-arms", "vaetune-trials", "vaetune-replicates"

TITLES = {
    ARMS: "Arms: mean curves of the replicates",
    TRIALS: "Trials: best first",
    REPLICATES: "Replicates: test metrics",
}

_LABELS = ("test/error", "test/nll", "test/nll_scaled", "test/brier", "test/ece_scaled", "gap/error")
_BOUNDS = ("test/neg_elbo", "test/neg_iwae", "test/reconstruction", "test/kl", "test/squared_error", "gap/neg_elbo")


def about(study: Mapping[str, Any], report: tuple[str, str] | None = None) -> dict[str, str]:
    """The experiment's tags for a study (as in its study.json): the note and the saved views.

    `report` are MLflow's ids of the experiment and of an execution that has its report, which the note then leads to.
    """
    tags = {"mlflow.note.content": note(study, report)}
    now = time.time_ns() // 1_000_000
    n, shown = study["replication"]["n"], charted(len(study["arms"]))
    titles = TITLES | ({ARMS: f"Arms: mean curves of the first {shown} replicates"} if shown < n else {})
    for key, state in _views(study["objective"]).items():
        deflated = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        view = {"name": titles[key], "createdAt": now, "updatedAt": now, "state": f"deflate;{deflated}"}
        tags[f"mlflow.sharedViewState.{key}"] = json.dumps(view)
    return tags


def charted(arms: int) -> int:
    """How many replicates of each arm carry the tag vaetune.charted, by which the view of the arms finds its runs.

    The page loads 100 runs and takes means over these: more than 100 would be those that happen to sort first.
    """
    return max(1, 100 // max(1, arms))


def links(uri: str, experiment_id: str, run_id: str = "") -> dict[str, str]:
    """Deep links to the three views, by title, and with a `run_id` to that execution's report.

    For a database they lead to `LOCAL`, where it has to be served first. Those to views hold the view's key alone:
    beside a filter or an order in the address the page drops the view's columns and grouping. Without the workflow's
    type it would open in another mode, and empty.
    """
    base = address.shown(uri).rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL
    runs = f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    modes = {ARMS: "&compareRunsMode=CHART"}
    views = {title: f"{runs}&viewStateShareKey={key}{modes.get(key, '')}" for key, title in TITLES.items()}
    return views | ({"Report": f"{base}/{_report(experiment_id, run_id)}"} if run_id else {})


def _report(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html"


def note(study: Mapping[str, Any], report: tuple[str, str] | None = None) -> str:
    """The experiment's description in Markdown, from study.json; `report` are the ids of experiment and run."""
    dataset, objective, budget = study["dataset_info"], study["objective"], study["budget"]
    facts = (
        f"**Data** {dataset['name']}: {dataset['n_train']} training, {dataset['n_validation']} validation and "
        f"{dataset['test']} test images. **Objective** `{objective['metric']}`, {objective['direction']}d on "
        f"validation; the test set is opened for replicates only. **Budget** of each arm {budget['trials']} trials, "
        f"then {study['replication']['n']} replicates on fresh seeds."
    )
    where = f"[report]({_report(*report)}) of `{study['run']}`" if report else "report in the execution's folder"
    caution = (
        "**How to read it** Trials are early-stopped and selected, so they compare nothing: replicates do. Charts show "
        f"every run's course; intervals and verdicts are in the {where}."
    )
    # The page shows one line of it until it is opened.
    lines = [f"**Hypothesis** {study['hypothesis']}", "", caution, "", facts, ""]
    lines += ["| arm | what differs | searched |", "|---|---|---|", *(_arm(arm) for arm in study["arms"]), ""]
    declared = [f"- {item['name']}: {item['question']}" for item in study["comparisons"]]
    lines += ["**Declared in advance**", "", *declared, ""] if declared else []
    return "\n".join(lines)


def _arm(arm: Mapping[str, Any]) -> str:
    searched = ", ".join(f"`{part['name']}`" for part in arm.get("space", ()))
    return f"| `{arm['name']}` | {_cell(arm['summary'])} | {searched or 'nothing'} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _views(objective: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    metric = f"metrics.`{objective['metric']}`"
    ascending = objective["direction"] == "minimize"
    both = ["tags.`vaetune.arm`", "tags.`vaetune.outcome`"]
    test = [f"metrics.`{name}`" for name in _tests(objective)]
    return {
        # By a metric, because by time the parent run comes along, as an arm without a name.
        ARMS: _state("tags.`vaetune.charted` = 'true'", metric, ascending, both) | _curves(objective),
        TRIALS: _state("tags.`vaetune.kind` = 'trial'", metric, ascending, [*both, metric]),
        REPLICATES: _state("tags.`vaetune.kind` = 'replicate'", test[0], True, [*both, *test]),
    }


def _tests(objective: Mapping[str, Any]) -> tuple[str, ...]:
    """The test metrics of classifiers or, where the study looks at something else, of models that only decode."""
    return _LABELS if objective["metric"].replace("val/", "test/") in _LABELS else _BOUNDS


def _state(runs: str, order: str, ascending: bool, columns: list[str]) -> dict[str, Any]:
    return {
        "searchFilter": runs,
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "groupBy": None,
        "useGroupedValuesInCharts": False,
        "hideEmptyCharts": True,
        "runsHiddenMode": "SHOWALL",
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _curves(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Runs grouped by arm; first the mean curves over epochs, then a bar an arm for each test metric."""
    courses = dict.fromkeys((objective["metric"], objective["tie"], "train/loss"))
    sections = {"curves": "Mean curves on validation and training", "test": "Test metrics, means of the replicates"}
    plain = {"xAxisKey": "step", "scaleType": "linear", "lineSmoothness": 0}  # a smoothed mean leaves its own band
    lines = [_chart("LINE", "curves", metric) | plain | {"selectedMetricKeys": [metric]} for metric in courses]
    bars = [_chart("BAR", "test", metric) for metric in _tests(objective)]
    return {
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "vaetune.arm"}]},
        "useGroupedValuesInCharts": True,
        "isAccordionReordered": True,  # else sections are sorted by name, and those of single values come first
        "compareRunCharts": lines + bars,
        "compareRunSections": [
            {"uuid": id, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": False}
            for id, name in sections.items()
        ],
    }


def _chart(kind: str, section: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": f"vaetune-{metric}",
        "type": kind,
        "metricKey": metric,
        "metricSectionId": section,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,
    }
