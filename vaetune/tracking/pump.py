"""The thread between the spool and the server: it gathers, tries again, waits, and knows when to give up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from vaetune.errors import UserError
from vaetune.tracking import address
from vaetune.tracking.server import Away, Server
from vaetune.tracking.spool import Event, Spool
from vaetune.tracking.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

GATHER_S = 1.0
"""How long values wait for company: a run costs at most one call in this time."""

PATIENCE_S = 10.0
"""How long `check` lets a server that does not answer try before it calls the address wrong."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0


class _GivenUp(Exception):
    """The time to close is over, or the address was found wrong."""


class Pump:
    """Moves one execution's events from a `Spool` to a `Server`. See `Tracker` for what its methods promise."""

    def __init__(
        self,
        uri: str,
        spool: Spool,
        *,
        experiment: str,
        run: str,
        about: Mapping[str, str],
        tags: Mapping[str, str],
        known: Mapping[str, str],
        say: Callable[[str], None],
        on_run: Callable[[str, str, str], None],
        objective: tuple[str, str],
    ) -> None:
        self.server = Server(uri)
        self._spool, self._experiment, self._about, self._say = spool, experiment, about, say
        self._shown = address.shown(uri)
        self._writer = Writer(
            self.server,
            run=run,
            tags=tags,
            known=known,
            attempt=self._attempt,
            say=say,
            on_run=on_run,
            objective=objective,
        )
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._ready = self._flushing = self._over = self._complete = self._told = self._full = False
        self._error: UserError | None = None  # why it could not begin
        self._away = ""  # why the server does not answer just now
        self._away_since = 0.0
        self._outcome = ""  # of the execution, once it is closing
        self._deadline = float("inf")

    def start(self) -> None:
        self._thread.start()

    def put(self, event: Event) -> None:
        try:
            self._spool.append(event)
        except OSError as error:
            if not self._full:
                self._full = True
                self._say(f"MLflow will lack values, which cannot be kept for it: {error}")
        with self._change:
            self._change.notify_all()

    def check(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        with self._change:
            while not (self._ready or self._over):
                until = min(end, self._away_since + PATIENCE_S) if self._away else end
                if (now := time.monotonic()) >= until:
                    self._error = UserError(
                        f"MLflow at {self._shown} cannot be reached ({self._away or 'not ready in time'}): "
                        "start it, mend the address, or go without tracking"
                    )
                    self._deadline = now  # the thread need not go on
                    self._change.notify_all()
                    break
                self._change.wait(until - now)
            if self._error:
                self._told = True
                raise self._error

    def flush(self, timeout: float) -> bool:
        with self._change:
            self._flushing = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._over or not self._spool.pending, timeout)
            return not self._spool.pending

    def close(self, outcome: str, timeout: float) -> None:
        with self._change:
            self._outcome = outcome
            self._deadline = min(self._deadline, time.monotonic() + timeout)
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout + 1)
        if not self._complete and not self._told:
            why = str(self._error) if self._error else self._away or "no time left"
            self._say(f"not all is in MLflow at {self._shown} ({why}); the rest waits in {self._spool.path}")
        elif self._writer.refused:
            self._say(
                f"MLflow at {self._shown} refused {self._writer.refused} values; the study's own tables have them"
            )
        if not self._thread.is_alive():  # else it may still be using the file
            self._spool.close(remove=self._complete or not self._spool.pending)

    def _work(self) -> None:
        try:
            began = _now_ms()
            self._attempt(lambda: self.server.open(self._experiment, lambda: self._writer.ensure_parent(began)))
            with self._change:
                self._ready = True
                self._change.notify_all()
            self._writer.announce()
            self._writer.describe(self._about)
            self._drain()
            self._writer.finish(self._outcome, _now_ms())
            self._complete = True
        except _GivenUp:
            pass  # `check` or `close` says it
        except UserError as error:
            self._error = error
        except Exception as error:  # a study must not fall with its tracking
            log.exception("the MLflow writer broke off")
            why = f"tracking broke off ({type(error).__name__}: {error})"
            if self._ready:
                self._told = True
                self._say(f"{why}; what is missing waits in {self._spool.path}")
            else:
                self._error = UserError(f"{why}: mend the installation, or go without tracking")
        finally:
            with self._change:
                self._over = True
                self._change.notify_all()

    def _drain(self) -> None:
        """Until the execution is closing and everything is written."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._spool.pending or self._outcome)
                if not self._spool.pending:
                    return
                self._change.wait_for(lambda: self._flushing or self._outcome, GATHER_S)
            events, offset = self._spool.read()
            self._writer.write(events)
            self._spool.commit(offset)
            with self._change:
                if not self._spool.pending:
                    self._flushing = False
                self._change.notify_all()

    def _attempt(self, action: Callable[[], T]) -> T:
        wait = FIRST_WAIT_S
        while True:
            try:
                result = action()
            except Away as away:
                self._wait(str(away), wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
                continue
            if self._away:
                with self._change:
                    self._away = ""
                if self._ready:
                    self._say(f"MLflow at {self._shown} answers again")
            return result

    def _wait(self, why: str, seconds: float) -> None:
        with self._change:
            first, self._away = not self._away, why
            if first:
                self._away_since = time.monotonic()
            self._change.notify_all()
        if first and self._ready:  # before that it is `check` who says it
            self._say(f"MLflow at {self._shown} does not answer ({why}): values wait in {self._spool.path}")
        with self._change:
            deadline = self._deadline
            left = deadline - time.monotonic()
            if left <= 0:
                raise _GivenUp
            self._change.wait_for(lambda: self._deadline != deadline, min(seconds, left))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
