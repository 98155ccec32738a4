"""A consistent copy of a tracking database in SQLite, made while it is written to."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from vaetune.storage import Storage

_SCHEME = "sqlite:///"


def copy(uri: str | None, root: Storage) -> bool:
    """Puts `mlflow.db` into a storage root in S3, where runs of a local database would otherwise stay behind.

    Returns whether there was anything to copy: a server keeps its own runs, a local root has the database beside it.
    Raises OSError when the root cannot be written.
    """
    if uri is None or not uri.startswith(_SCHEME) or root.local is not None:
        return False
    with tempfile.TemporaryDirectory(prefix="vaetune-") as folder:
        target = Path(folder, "mlflow.db")
        with closing(sqlite3.connect(uri.removeprefix(_SCHEME))) as live, closing(sqlite3.connect(target)) as aside:
            live.backup(aside)
        root.write("mlflow.db", target.read_bytes())
    return True
