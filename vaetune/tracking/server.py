"""The tracking server as vaetune needs it: one experiment, explicit run ids, whole batches, three kinds of failure.

Nothing of MLflow's fluent, process-wide state is used, so that any number of runs can be open at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaetune.errors import UserError
from vaetune.tracking import address, limits
from vaetune.tracking.inputs import Input

Row = tuple[str, float, int, int]
"""(metric, value, step, timestamp in ms)"""

_DENIED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_REFUSED = {
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "NOT_FOUND",
    "ENDPOINT_NOT_FOUND",
    "NOT_IMPLEMENTED",
}


_NO_MLFLOW = "what answers there is not an MLflow tracking server"


class Away(Exception):
    """The server does not answer, or not now: the same call may succeed later."""


class Denied(Away):
    """The server wants other credentials."""


class Refused(Exception):
    """The server understood and will not, whenever it is asked again (a deleted run, a changed parameter)."""


@dataclass(frozen=True)
class Known:
    """A run that the server has: our id, MLflow's, whether it ended, each metric's last step and value, parameters."""

    own_id: str
    run_id: str
    ended: bool
    steps: Mapping[str, int]
    values: Mapping[str, float]
    params: Mapping[str, str]

    @property
    def size(self) -> int:
        """How much is known of it."""
        return len(self.steps) + len(self.params)


def load() -> Any:
    """The package `mlflow`: imported here and nowhere else (3 to 5 CPU seconds), with the settings it reads by then."""
    for setting, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # it logs a traceback for each failed try; ours is one line for all
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the writer tries again by itself, and says so
    }.items():
        os.environ.setdefault(setting, value)
    import mlflow
    import mlflow.entities
    import mlflow.exceptions

    return mlflow


class Server:
    """One experiment at one address. Every method raises `Away` or `Refused`; none tries twice."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.experiment_id = ""
        self.client: Any = None
        self._mlflow: Any = None

    def open(self, experiment: str, ensure_parent: Callable[[], str]) -> str:
        """Finds or makes the database, the experiment and, through `ensure_parent`, the parent run; returns its id.

        Raises `UserError` for what the person at the keyboard has to mend.
        """
        self._mlflow = load()
        local = self.uri.startswith("sqlite:")
        try:
            with address.locked(address.database(self.uri)) if local else nullcontext(), translated():
                self.client = self._mlflow.MlflowClient(self.uri)
                self.experiment_id = self._experiment(experiment)
                return ensure_parent()
        except Denied as error:
            raise UserError(
                f"MLflow at {address.shown(self.uri)} denies access ({error}): set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            ) from error
        except Refused as error:
            raise UserError(f"MLflow at {address.shown(self.uri)} does not take the study: {error}") from error

    def describe(self, tag: str, text: str) -> None:
        """Sets a tag of the experiment."""
        with translated():
            self.client.set_experiment_tag(
                self.experiment_id, limits.name(tag), limits.value(text, limits.EXPERIMENT_TAG)
            )

    def executions(self, run: str) -> list[Known]:
        """The parent runs of that execution, oldest first (more than one only after a creation that went unheard)."""
        return [known for known in self._search("tags.`vaetune.kind` = 'execution'") if known.own_id == run]

    def children(self, parent: str) -> list[Known]:
        """All child runs, oldest first."""
        return self._search(f"tags.`mlflow.parentRunId` = '{parent}'")

    def create(self, name: str, tags: Mapping[str, str], time_ms: int) -> str:
        """A new run's id."""
        with translated():
            run = self.client.create_run(
                self.experiment_id, start_time=time_ms, tags=_tags(tags), run_name=limits.value(name, limits.NAME)
            )
            return str(run.info.run_id)

    def reopen(self, run_id: str) -> None:
        """Sets a run that ended to running again."""
        with translated():
            self.client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, status: str, time_ms: int) -> None:
        """`status` is MLflow's: FINISHED, FAILED or KILLED."""
        with translated():
            self.client.set_terminated(run_id, status=status, end_time=time_ms)

    def delete(self, run_id: str) -> None:
        """Ends a run and moves it to MLflow's bin; one that is there already stays as it is."""
        with translated():
            if self.client.get_run(run_id).info.lifecycle_stage == "active":
                self.client.set_terminated(run_id, status="KILLED")
                self.client.delete_run(run_id)

    def params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Logs parameters: the same ones again are fine, others under the same name are `Refused`."""
        entities = [
            self._mlflow.entities.Param(limits.name(key), limits.value(item, limits.PARAM))
            for key, item in params.items()
        ]
        with translated():
            for batch in _batches(entities, limits.PARAMS_A_CALL):
                self.client.log_batch(run_id, params=batch)

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Sets tags; the last value stays."""
        entities = [self._mlflow.entities.RunTag(key, item) for key, item in _tags(tags).items()]
        with translated():
            for batch in _batches(entities, limits.TAGS_A_CALL):
                self.client.log_batch(run_id, tags=batch)

    def metrics(self, run_id: str, rows: Sequence[Row]) -> None:
        """Logs at most `limits.METRICS_A_CALL` finite values in one call; the same tuple twice is stored once."""
        entities = [
            self._mlflow.entities.Metric(limits.name(key), value, time_ms, step) for key, value, step, time_ms in rows
        ]
        with translated():
            self.client.log_batch(run_id, metrics=entities)

    def inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        """Logs datasets; the same ones again are fine."""
        entities = self._mlflow.entities
        datasets = [
            entities.DatasetInput(
                entities.Dataset(each.name, each.digest, "vaetune", each.source, profile=each.profile),
                [entities.InputTag("mlflow.data.context", each.context)],
            )
            for each in inputs
        ]
        with translated():
            self.client.log_inputs(run_id, datasets)

    def artifact(self, run_id: str, path: Path, folder: str) -> None:
        """Uploads a file, or a folder with all that is in it."""
        with translated():
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), folder or None)
            else:
                self.client.log_artifact(run_id, str(path), folder or None)

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))
            except self._mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                    raise
                found = self.client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise UserError(
                f"MLflow's experiment {name!r} was deleted from {address.shown(self.uri)}: restore it with `mlflow "
                f"experiments restore --experiment-id {found.experiment_id}`, or give the study another name"
            )
        return str(found.experiment_id)

    def _artifacts(self, experiment: str) -> str | None:
        """For sqlite a folder beside the database (MLflow's own choice is the current directory); else the server's."""
        if not self.uri.startswith("sqlite:"):
            return None
        folder = re.sub(r"[^\w.-]", "_", limits.name(experiment))
        return (address.database(self.uri).parent / "mlartifacts" / folder).as_uri()

    def _search(self, condition: str) -> list[Known]:
        found, token = [], None
        while True:
            with translated():
                page = self.client.search_runs(
                    [self.experiment_id],
                    condition,
                    max_results=1000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            found += [_known(run) for run in page]
            token = page.token
            if not token:
                return found


@contextmanager
def translated() -> Iterator[None]:
    """MLflow's and the network's errors as `Away`, `Denied` and `Refused`."""
    try:
        yield
    except load().exceptions.MlflowException as error:
        why = _short(str(error))
        if error.error_code in _DENIED:
            raise Denied(why) from error
        if error.error_code in _REFUSED or _foreign(why):
            raise Refused(why) from error
        raise Away(why) from error
    except FileNotFoundError as error:
        raise Refused(str(error)) from error
    except OSError as error:  # of requests, too
        raise Away(_short(str(error))) from error


def _foreign(why: str) -> bool:
    """Neither a passing failure nor one with a code: a database of another MLflow, or no MLflow at all."""
    return "out-of-date database schema" in why or why == _NO_MLFLOW


def _known(run: Any) -> Known:
    steps = {metric.key: int(metric.step) for metric in run.data.to_proto().metrics}
    tags = run.data.tags
    return Known(
        own_id=tags.get("vaetune.id", ""),
        run_id=run.info.run_id,
        ended=run.info.status != "RUNNING",
        steps=steps,
        values=dict(run.data.metrics),
        params=dict(run.data.params),
    )


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {limits.name(key): limits.value(item, limits.TAG) for key, item in tags.items()}


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _short(text: str) -> str:
    """One line of MLflow's, requests' and urllib3's nested messages."""
    for pattern, meaning in (
        ("Connection refused", "connection refused"),
        ("timed out|timeout", "no answer in time"),
        ("Failed to resolve|Name or service not known|name resolution", "unknown host"),
        ("Connection broken", "the connection broke off"),
        ("failed with error code 404|not in a valid JSON format", _NO_MLFLOW),
    ):
        if re.search(pattern, text):
            return meaning
    text = re.sub(r"//[^/@\s]*@", "//", text)  # no password
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return line if len(line) <= 200 else line[:199] + "…"
