"""One driver at a time in an execution's folder: two would interleave its tables."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from vaetune.errors import UserError
from vaetune.storage import Storage

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


@contextmanager
def _file(storage: Storage) -> Iterator[None]:
    assert storage.local is not None
    with open(storage.local / NAME, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(storage, file.read()) from None
        file.truncate(0)
        file.write(json.dumps(_holder()))
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def _lease(storage: Storage) -> Iterator[None]:
    mine = _holder() | {"token": secrets.token_hex(8)}
    if storage.exists(NAME):
        found = json.loads(storage.read(NAME))
        if time.time() - found["renewed"] < 3 * RENEW:
            raise _busy(storage, json.dumps(found))
    ended = threading.Event()

    def renew() -> None:
        storage.write(NAME, json.dumps(mine | {"renewed": time.time()}).encode())

    def keep() -> None:
        while not ended.wait(RENEW):
            renew()

    renew()
    time.sleep(1.0)  # whoever wrote at the same moment is seen now
    if json.loads(storage.read(NAME))["token"] != mine["token"]:
        raise _busy(storage, storage.read(NAME).decode())
    thread = threading.Thread(target=keep, daemon=True, name="vaetune-lock")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        storage.delete(NAME)


def _holder() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _busy(storage: Storage, text: str) -> UserError:
    try:
        holder = json.loads(text)
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError):
        who = "another process"
    return UserError(f"{storage.uri} is being worked on by {who}; wait for it or stop it")
