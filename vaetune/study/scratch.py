"""Temporary folders that do not outlive their process for long, however it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "vaetune-"
_OWNER = "owner"


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, removed at the end; what killed processes of this user left behind is removed at the beginning.

    Its path is short: Ray puts sockets there, whose names may have 107 bytes.
    """
    root = Path(tempfile.gettempdir())
    for owner in root.glob(f"{_PREFIX}*/{_OWNER}"):
        _sweep(owner)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    try:
        with open(folder / _OWNER, "x", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(str(os.getpid()))
            file.flush()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(owner: Path) -> None:
    """Removes a folder whose owner is dead: the kernel has let go of its lock. An empty file is not yet locked."""
    try:
        with open(owner, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.read():
                shutil.rmtree(owner.parent, ignore_errors=True)
    except OSError:  # held, another user's, or removed meanwhile
        return
