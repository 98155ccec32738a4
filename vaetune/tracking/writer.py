"""From our events to MLflow's calls: which run, in which order, in what batches. One thread; no threads in here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vaetune.tracking import limits
from vaetune.tracking.inputs import Input
from vaetune.tracking.server import Away, Known, Refused, Row, Server
from vaetune.tracking.spool import Event

log = logging.getLogger(__name__)

T = TypeVar("T")

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
"""MLflow's status of a run that ended by itself; one that was still open when the execution was stopped is KILLED."""


class Attempt(Protocol):
    """Calls until the server answers; raises what is not `Away`, and whatever it takes to give up."""

    def __call__(self, action: Callable[[], T]) -> T: ...


class Writer:
    """Writes one execution's events. What the server refuses is counted, said once, and does not stop the rest."""

    def __init__(
        self,
        server: Server,
        *,
        run: str,
        tags: Mapping[str, str],
        known: Mapping[str, str],
        attempt: Attempt,
        say: Callable[[str], None],
        on_run: Callable[[str, str, str], None],
        objective: tuple[str, str],
    ) -> None:
        self.refused = 0  # values and runs that the server did not take
        self._server, self._run, self._tags, self._known = server, run, dict(tags), known
        self._attempt, self._say, self._on_run = attempt, say, on_run
        self._objective, direction = objective
        self._minimize = direction == "minimize"
        self._best: dict[str, float] = {}  # of each run the best value of the objective so far
        self._params: dict[str, Mapping[str, str]] = {}
        self._ids: dict[str, str] = {}
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._steps: dict[str, dict[str, int]] = {}  # the last step told of each metric of each run
        self._missing: dict[str, dict[str, int]] = {}  # the first step at which a metric was not finite
        self._doubt: set[str] = set()  # whose creation was not heard of, and may have happened

    def ensure_parent(self, time_ms: int) -> str:
        """The execution's own run: the one that is there (it goes on), or a new one. Its children are taken along."""
        found = self._server.executions(self._run)
        if found:
            parent = found[0].run_id
            self._server.reopen(parent)
            self._server.tags(parent, self._tags)
        else:
            tags = {**self._tags, "vaetune.kind": "execution", "vaetune.run": self._run, "vaetune.id": self._run}
            parent = self._server.create(self._run, tags, time_ms)
        self._ids[self._run] = parent
        if found:
            self._adopt()
        return parent

    def announce(self) -> None:
        """Tells the caller of each run that is not in its own table yet."""
        for own_id, run_id in self._ids.items():
            if self._known.get(own_id) != run_id:
                self._on_run(own_id, run_id, self._server.experiment_id)

    def describe(self, about: Mapping[str, str]) -> None:
        """Sets the experiment's note and views; what the server refuses of them is logged and left out."""
        for tag, text in about.items():
            try:
                self._attempt(partial(self._server.describe, tag, text))
            except Refused as error:
                log.warning("MLflow does not take the experiment's tag %s (left out): %s", tag, error)

    def write(self, events: Iterable[Event]) -> None:
        """Writes the events, each run's in order; neighbouring values of a run go in one call."""
        waiting: dict[str, list[Row]] = {}
        for kind, own_id, *rest in events:
            if kind == "metrics":
                waiting.setdefault(own_id, []).extend((key, value, step, time) for key, value, step, time in rest[0])
                continue
            self._metrics(own_id, waiting.pop(own_id, []))
            if kind == "begin":
                self._begin(own_id, *rest)
            elif kind == "inputs":
                self._take(own_id, 1, partial(self._server.inputs, inputs=[Input(**each) for each in rest[0]]))
            elif kind == "end":
                self._end(own_id, *rest)
            else:
                self._artifact(own_id, *rest)
        for own_id, rows in waiting.items():
            self._metrics(own_id, rows)

    def finish(self, outcome: str, time_ms: int) -> None:
        """Ends what is still open, the execution's own run last."""
        if self._doubt:
            self._attempt(self._adopt)
        for own_id in [*sorted(self._open), self._run]:
            self._end(own_id, outcome, time_ms, {}, status="KILLED" if outcome == "stopped" else STATUS[outcome])

    def _begin(self, own_id: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any], time_ms: int) -> None:
        inherited = {key: text for key, text in self._tags.items() if key.startswith("mlflow.source.")}
        tags = {
            **inherited,
            **tags,
            "vaetune.run": self._run,
            "vaetune.id": own_id,
            "mlflow.parentRunId": self._ids[self._run],
        }
        texts = {limits.name(key): limits.value(item, limits.PARAM) for key, item in params.items()}
        # Some may be missing there: parameters are written in several calls, between which a driver can be killed.
        if texts and any(texts.get(key) != text for key, text in self._params.get(own_id, {}).items()):
            self._replace(own_id)
        self._params[own_id] = texts or self._params.get(own_id, {})
        if own_id not in self._ids:
            try:
                self._ids[own_id] = self._attempt(lambda: self._create(own_id, name or own_id, tags, time_ms))
            except Refused as error:
                self._lost(own_id, 1, error)
                return
            self._on_run(own_id, self._ids[own_id], self._server.experiment_id)
        else:
            if own_id in self._ended:
                self._take(own_id, 1, self._server.reopen)
            self._take(own_id, len(tags), lambda run_id: self._server.tags(run_id, tags))
        self._open.add(own_id)
        self._ended.discard(own_id)
        self._take(own_id, len(params), lambda run_id: self._server.params(run_id, params))

    def _replace(self, own_id: str) -> None:
        """Gives up the run of a member that begins anew with other parameters, which in MLflow nothing can change."""
        self._take(own_id, 1, self._server.delete)
        for kept in (self._ids, self._steps, self._missing, self._best):
            kept.pop(own_id, None)
        self._open.discard(own_id)
        self._ended.discard(own_id)

    def _create(self, own_id: str, name: str, tags: Mapping[str, str], time_ms: int) -> str:
        if own_id in self._doubt:
            self._adopt()
            if own_id in self._ids:
                return self._ids[own_id]
        try:
            return self._server.create(name, tags, time_ms)
        except Away:
            self._doubt.add(own_id)
            raise

    def _metrics(self, own_id: str, rows: Sequence[Row]) -> None:
        """A (metric, step) is told once: a trial that goes on from a checkpoint repeats epochs, and draws one line."""
        told, missing = self._steps.setdefault(own_id, {}), self._missing.setdefault(own_id, {})
        noted, new = len(missing), []
        for key, value, step, time_ms in rows:
            name = limits.name(key)
            if not math.isfinite(value):
                missing.setdefault(name, step)
            elif step > told.get(name, step - 1):
                told[name] = step
                new.append((name, value, step, time_ms))
                if key == self._objective:
                    new.append((_best_of(key), self._better(own_id, value), step, time_ms))
        for start in range(0, len(new), limits.METRICS_A_CALL):
            batch = new[start : start + limits.METRICS_A_CALL]
            self._take(own_id, len(batch), partial(self._server.metrics, rows=batch))
        if len(missing) > noted:
            note = ", ".join(f"{name} from step {step}" for name, step in missing.items())
            self._take(own_id, 1, lambda run_id: self._server.tags(run_id, {"vaetune.nonfinite": note}))

    def _better(self, own_id: str, value: float) -> float:
        """The best value of the objective that the run has had."""
        best = self._best.get(own_id, value)
        self._best[own_id] = min(best, value) if self._minimize else max(best, value)
        return self._best[own_id]

    def _end(self, own_id: str, outcome: str, time_ms: int, tags: Mapping[str, str], status: str | None = None) -> None:
        tags = {**tags, "vaetune.outcome": outcome}
        self._take(own_id, len(tags), lambda run_id: self._server.tags(run_id, tags))
        self._take(own_id, 1, lambda run_id: self._server.end(run_id, status or STATUS[outcome], time_ms))
        self._open.discard(own_id)
        self._ended.add(own_id)

    def _artifact(self, own_id: str, path: str, folder: str) -> None:
        self._take(own_id, 1, lambda run_id: self._server.artifact(run_id, Path(path), folder))

    def _take(self, own_id: str, size: int, action: Callable[[str], None]) -> None:
        run_id = self._ids.get(own_id)
        if not size:
            return
        if run_id is None:  # its creation was refused, which was said
            self.refused += size
            return
        try:
            self._attempt(lambda: action(run_id))
        except Refused as error:
            self._lost(own_id, size, error)

    def _lost(self, own_id: str, size: int, error: Refused) -> None:
        if not self.refused:
            self._say(f"MLflow refuses what belongs to {own_id}: {error}; the study's own tables have it")
        self.refused += size

    def _adopt(self) -> None:
        """Takes over the runs that the server has; of two of the same id the better known one, the other goes."""
        for known in sorted(self._server.children(self._ids[self._run]), key=self._rank):
            if not known.own_id:  # somebody else's
                continue
            if known.own_id in self._ids and self._ids[known.own_id] != known.run_id:
                self._server.delete(known.run_id)
            elif known.own_id not in self._ids:
                self._ids[known.own_id] = known.run_id
                self._steps[known.own_id] = dict(known.steps)
                self._params[known.own_id] = known.params
                if (best := known.values.get(_best_of(self._objective))) is not None:
                    self._best[known.own_id] = best
                (self._ended if known.ended else self._open).add(known.own_id)

    def _rank(self, known: Known) -> tuple[bool, int]:
        return self._known.get(known.own_id) != known.run_id, -known.size


def _best_of(metric: str) -> str:
    return f"best/{metric.rpartition('/')[2]}"
