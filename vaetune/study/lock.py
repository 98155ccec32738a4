"""One driver at a time in an execution's folder: two would interleave its tables."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from vaetune.errors import UserError
from vaetune.storage import Storage

_log = logging.getLogger(__name__)

NAME = "driver.lock"
RENEW = 20.0
"""Seconds between renewals of a lock in S3; three missed ones, and its holder counts as dead."""


@contextmanager
def held(storage: Storage) -> Iterator[None]:
    """Holds the execution's lock; raises `UserError` that names the holder.

    On a local disk it is the kernel's (a killed driver leaves none behind), in S3 a lease that is renewed; S3 gives no
    exclusive creation here, so of two that start within a second one may stop only after the other's first renewal.
    """
    with _file(storage) if storage.local else _lease(storage):
        yield


def busy(storage: Storage) -> bool:
    """Whether a driver holds the execution's lock."""
    if storage.local is None:
        return _holding(_read(storage))
    try:
        with open(storage.local / NAME, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _file(storage: Storage) -> Iterator[None]:
    assert storage.local is not None
    try:
        file = open(storage.local / NAME, "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(f"{storage.uri} cannot be written: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(storage, file.read()) from None
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk: then a second driver is told of "another process"
            file.write(json.dumps(_holder()))
            file.flush()
        yield
        file.truncate(0)


@contextmanager
def _lease(storage: Storage) -> Iterator[None]:
    mine = _holder() | {"token": secrets.token_hex(8)}
    found = _read(storage)
    if found and _holding(found):
        raise _busy(storage, json.dumps(found))
    ended = threading.Event()

    def renew() -> None:
        storage.write(NAME, json.dumps(mine | {"renewed": time.time()}).encode())

    def keep() -> None:
        said = False
        while not ended.wait(RENEW):
            try:
                found = _read(storage)
                if found and found["token"] != mine["token"]:  # an outage outlasted the lease: the study is theirs now
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                renew()
                said = False
            except OSError as error:  # the storage is away, which the driver itself waits for
                if not said:
                    _log.warning("the lock cannot be renewed: %s", error)
                said = True

    renew()
    time.sleep(1.0)  # whoever wrote at the same moment is seen now
    winner = _read(storage) or mine
    if winner["token"] != mine["token"]:
        raise _busy(storage, json.dumps(winner))
    thread = threading.Thread(target=keep, daemon=True, name="vaetune-lock")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(OSError):  # a storage that is away: the lease runs out
            if (found := _read(storage)) and found["token"] == mine["token"]:
                storage.delete(NAME)


def _read(storage: Storage) -> dict[str, Any] | None:
    """The lease, if there is one; what is no lease of ours, such as half a file, holds nobody off."""
    try:
        found = json.loads(storage.read(NAME))
        return {"renewed": float(found["renewed"]), **{key: found[key] for key in ("token", "pid", "host", "since")}}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _holding(lease: Mapping[str, Any] | None) -> bool:
    return lease is not None and time.time() - lease["renewed"] < 3 * RENEW and not _dead(lease)


def _dead(holder: Mapping[str, Any]) -> bool:
    """Whether the holder was a process of this very machine that is gone."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _holder() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _busy(storage: Storage, text: str) -> UserError:
    try:
        holder = json.loads(text)
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return UserError(f"{storage.uri} is being worked on by {who}; wait for it or stop it")
