"""Where the runs go: which addresses are understood, how they are shown, and the sqlite file behind one of them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from vaetune.errors import UserError

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


def checked(uri: str) -> str:
    """`uri` with a sqlite path made absolute; raises `UserError` for what MLflow does not store runs in."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in SCHEMES or not uri.split("://", 1)[-1].strip("/"):
        raise UserError(
            f"MLflow cannot keep runs at {uri!r}: give sqlite:////absolute/path/mlflow.db, the http(s):// address of a "
            "tracking server, a database URI, or nothing to go without tracking"
        )
    if scheme == "sqlite":
        return f"sqlite:///{database(uri).absolute()}"
    return uri.rstrip("/")


def database(uri: str) -> Path:
    """The file of a sqlite:/// address."""
    return Path(uri.removeprefix("sqlite:///"))


def shown(uri: str) -> str:
    """`uri` for a console or a log: without the password."""
    parts = urlsplit(uri)
    if parts.password is None and parts.username is None:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock beside the database, so that only one process creates it; raises `UserError` if it cannot be used.

    MLflow creates some fifty tables one by one when it first meets an empty file, and two processes that do so at once
    break each other. A file that cannot be opened is found out here because MLflow would try for minutes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise _unusable(path, "no permission to write it")
        try:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA schema_version").fetchall()
            connection.close()
        except sqlite3.DatabaseError as error:
            raise _unusable(path, str(error)) from error
        yield
    finally:
        os.close(handle)  # and with it the lock


def _unusable(path: Path, why: str) -> UserError:
    return UserError(f"the MLflow database {path} cannot be used: {why}; mend that or name another one")
