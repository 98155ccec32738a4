"""An execution's `Tracker`, and the table of MLflow's ids that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.options import Options
from vaetune.tracking import Tracker, about, address, views


class Tracked:
    """The tracker of an execution; `write` puts the ids of new runs into the table `runs`."""

    def __init__(self, options: Options, ex: Execution, console: Console) -> None:
        self._tables = ex.tables
        self._new: list[dict[str, str]] = []
        study = record(ex)
        before = ex.tables.read("runs")
        git = ex.environment["git"]
        data = study["dataset_info"]
        self.tracker = Tracker(
            options.tracking_uri,
            spool=beside(ex) / "tracking",
            experiment=ex.study.name,
            run=ex.run,
            say=console.note,
            on_run=self._on_run,
            about=about(study),
            tags={"vaetune.preset": options.preset, "vaetune.data": data["digest"], "vaetune.seed": str(options.seed)}
            | {"vaetune.hypothesis": ex.study.hypothesis}
            | ({"vaetune.extends": ex.extends} if ex.extends else {})
            | ({"mlflow.source.git.commit": git["revision"]} if git else {}),
            objective=(ex.study.objective.metric, ex.study.objective.direction),
            known=dict(zip(before["own_id"], before["run_id"], strict=True)),
        )

        if options.tracking_uri:
            ex.write_environment(tracking=interface(options.tracking_uri))
        self._written = set(zip(before["own_id"], before["run_id"], strict=True))

    def write(self) -> None:
        """The list is filled by the tracker's thread, which tells of a run again when it replays its spool."""
        taken = self._new[:]
        del self._new[: len(taken)]
        new = {(row["own_id"], row["run_id"]): row for row in taken}
        self._tables.append("runs", [row for key, row in new.items() if key not in self._written])
        self._written |= new.keys()

    def _on_run(self, own_id: str, run_id: str, experiment_id: str) -> None:
        self._new.append({"own_id": own_id, "run_id": run_id, "experiment_id": experiment_id})


def interface(uri: str) -> str:
    """Where the runs can be looked at: the server, without a password; for a database, one yet to be started."""
    return address.shown(uri).rstrip("/") if uri.startswith(("http://", "https://")) else views.LOCAL


def beside(ex: Execution) -> Path:
    """A local folder of the execution, for what cannot be written to S3 directly."""
    return ex.storage.local or Path("runs", ex.study.name, ex.run)


def record(ex: Execution) -> dict[str, Any]:
    """study.json."""
    found: dict[str, Any] = json.loads(ex.storage.read("study.json"))
    return found
