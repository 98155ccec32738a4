"""Work of a study that another process does meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from vaetune.errors import UserError


class Aside:
    """Calls `function`, which can be pickled and returns nothing, with `arguments`, in a process that begins at once.

    That process ends with this one, however this one does.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")  # no fork: this process has threads
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, function, arguments), daemon=True)
        self._outcome: tuple[UserError | None, str] | None = None
        # Inherited: a Ctrl-C is for this process, which ends the other one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that this end hears when the process ends

    def wait(self) -> None:
        """Until it is done, or has failed."""
        if self._outcome is not None:
            return
        try:
            self._outcome = self._ours.recv()
        except EOFError:
            self._process.join()
            self._outcome = None, f"the process has ended with {self._process.exitcode}"
        self._process.join()

    def result(self) -> None:
        """Waits, and raises the `UserError` that was raised there; RuntimeError with the traceback of any other."""
        self.wait()
        assert self._outcome is not None
        error, other = self._outcome
        if error is not None:
            raise error
        if other:
            raise RuntimeError(other)


def _work(pipe: Connection, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    try:
        function(*arguments)
    except UserError as error:
        pipe.send((error, ""))
    except Exception:  # noqa: BLE001 - raised where it is waited for
        pipe.send((None, traceback.format_exc()))
    else:
        pipe.send((None, ""))


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
