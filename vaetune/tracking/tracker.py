"""The tracker: takes a study's runs and values at once, and has them written to MLflow by a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vaetune.tracking import address, limits
from vaetune.tracking.inputs import Input
from vaetune.tracking.pump import Pump
from vaetune.tracking.server import Row
from vaetune.tracking.spool import Spool

_NONE: Mapping[str, str] = MappingProxyType({})


def _nobody(own_id: str, run_id: str, experiment_id: str) -> None:
    pass


class Tracker:
    """One execution of a study in MLflow: an experiment, a parent run, and a child run per trial and per replicate.

    No method but `check`, `flush` and `close` waits for more than a line appended to a file in `spool`, and none but
    `check` raises for what the server does. What could not be written stays in `spool`: the next `Tracker` of the same
    `run` and `spool` writes it first, with its own times, and no run or value twice. Without a `uri` nothing is
    tracked and nothing imported. Raises `UserError` for a `uri` of no known kind.

    `about` are the experiment's tags (`views.about`), `tags` those of the parent run, of which `mlflow.source.*` are
    passed on to the children. `known` maps own ids to MLflow's as the caller's table has them; `on_run` is called from
    the thread with (own id, run id, experiment id) for every other run, the parent (own id `run`) included, as soon as
    it exists. `say` gets lines for the console. `objective` is a metric and "minimize" or "maximize": its best value
    so far is kept beside it, `val/error` as `best/error`.
    """

    def __init__(
        self,
        uri: str | None,
        *,
        spool: Path,
        experiment: str,
        run: str,
        say: Callable[[str], None],
        on_run: Callable[[str, str, str], None] = _nobody,
        about: Mapping[str, str] = _NONE,
        tags: Mapping[str, str] = _NONE,
        known: Mapping[str, str] = _NONE,
        objective: tuple[str, str] = ("", "minimize"),
    ) -> None:
        self._run = run
        self._pump: Pump | None = None
        if uri:
            uri = address.checked(uri)
            self._pump = Pump(
                uri,
                Spool(spool, uri),
                experiment=experiment,
                run=run,
                about=about,
                tags=tags,
                known=known,
                say=say,
                on_run=on_run,
                objective=objective,
            )

    def start(self) -> None:
        """Starts the thread, which imports MLflow and opens the database or server; returns at once."""
        if self._pump:
            self._pump.start()

    def check(self, timeout: float = 90.0) -> None:
        """Waits until runs can be written; raises `UserError` when they cannot, within `timeout` seconds.

        A server that does not answer gets 10 seconds of tries; importing MLflow and creating a database may take as
        long. After an error the thread ends; `close` stays silent.
        """
        if self._pump:
            self._pump.check(timeout)

    @property
    def on(self) -> bool:
        """Whether there is an address."""
        return self._pump is not None

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the experiment; empty without tracking and before `check` has returned."""
        return self._pump.server.experiment_id if self._pump else ""

    def begin(self, own_id: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any], time_ms: int) -> None:
        """A trial or replicate begins, or goes on: then its run is found and opened again.

        One that begins anew with other `params` gets a new run, and the old one goes to MLflow's bin. Without any
        `params` it goes on.
        """
        texts = {key: limits.value(item, limits.PARAM) for key, item in params.items()}
        self._put("begin", own_id, name, dict(tags), texts, int(time_ms))

    def metrics(self, own_id: str, rows: Sequence[Row]) -> None:
        """Values (key, value, step, ms), steps rising; what is not finite becomes the tag vaetune.nonfinite."""
        self._put("metrics", own_id, [(key, float(value), int(step), int(ms)) for key, value, step, ms in rows])

    def inputs(self, own_id: str, inputs: Sequence[Input]) -> None:
        """The images that a run sees."""
        self._put("inputs", own_id, [each.event() for each in inputs])

    def end(self, own_id: str, outcome: str, time_ms: int, tags: Mapping[str, str] = _NONE) -> None:
        """`outcome` is finished, stopped (by the scheduler: FINISHED for MLflow, told by its tag) or failed."""
        self._put("end", own_id, outcome, int(time_ms), dict(tags))

    def artifact(self, path: Path, folder: str = "") -> None:
        """Uploads a file, or what is in a folder, into `folder` of the parent run; it has to stay until `flush`."""
        self._put("artifact", self._run, str(path.absolute()), folder)

    def flush(self, timeout: float = 60.0) -> bool:
        """Waits until everything told so far is on the server; False when it is not within `timeout` seconds."""
        return self._pump.flush(timeout) if self._pump else True

    def close(self, outcome: str, timeout: float = 60.0) -> None:
        """Writes what is left, ends the runs still open and the execution with `outcome`, and stops the thread.

        Takes about `timeout` seconds at most; says in one line what could not be written by then. No call after it.
        """
        if self._pump:
            self._pump.close(outcome, timeout)
            self._pump = None

    def _put(self, *event: Any) -> None:
        if self._pump:
            self._pump.put(list(event))
