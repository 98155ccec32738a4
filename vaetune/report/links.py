"""From what the report shows to its MLflow runs; nowhere where the execution was not tracked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from vaetune.report.document import Cell
from vaetune.report.evidence import Evidence


def to_run(found: Evidence, column: str) -> dict[str, Cell]:
    """The link of a table's first column to the run of the id in `column`, by the column's printed name "Run"."""
    base = found.environment.get("tracking")
    places = {r.own_id: f"{base}/#/experiments/{r.experiment_id}/runs/{r.run_id}" for r in found.runs.itertuples()}
    return {"Run": lambda row: places.get(row[column], "")} if base else {}


def to_replicates(found: Evidence) -> dict[str, Cell]:
    """The link of a column "Arm" to the list of the runs of the arm's replicates, whose means the row holds."""
    base = found.environment.get("tracking")
    if not base or found.runs.empty:
        return {}
    experiment = found.runs["experiment_id"].iloc[0]
    run = found.study["run"]

    def link(row: Mapping[str, Any]) -> str:
        tags = {"kind": "replicate", "arm": row["arm"], "run": run}
        wanted = " and ".join(f'tags."vaetune.{name}" = "{value}"' for name, value in tags.items())
        return f"{base}/#/experiments/{experiment}/runs?workflowType=machine_learning&searchFilter={quote(wanted)}"

    return {"Arm": link}
