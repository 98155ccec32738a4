"""What waits for the tracking server: an append-only file of JSON lines, and a cursor on what has been written there.

The file is the queue. So nothing is lost when the server is away, memory stays small, and a process that was killed
finds its own lines again. What was written just before the kill is written again: MLflow stores the same value once.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

Event = list[Any]
"""["begin" | "inputs" | "metrics" | "end" | "artifact", *arguments], of JSON types."""


FILE = "tracking.jsonl"


class Spool:
    """`append` from any thread; `read` and `commit` from one. Lines survive the process, not the machine (no fsync)."""

    def __init__(self, folder: Path, uri: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        # One cursor for each server: going on with another one writes everything that is still here to that one too.
        self._cursor = folder / f"tracking-{hashlib.sha256(uri.encode()).hexdigest()[:8]}.cursor"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._lock = threading.Lock()
        self._size = os.fstat(self._file).st_size
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":  # torn by a kill: close the line
            self._size += os.write(self._file, b"\n")
        self._offset = self._stored()

    def append(self, event: Event) -> None:
        """Raises OSError when the disk takes no more; the line is then missing, the others are whole."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            written = os.write(self._file, line)
            self._size += written
            if written < len(line):  # disk nearly full: what follows must begin a line of its own
                os.ftruncate(self._file, self._size - written)
                self._size -= written
                raise OSError(f"{self.path}: no space left for {len(line)} bytes")

    @property
    def pending(self) -> int:
        """Bytes that are not written to the server yet."""
        return self._size - self._offset

    def read(self, limit: int = 1 << 18) -> tuple[list[Event], int]:
        """The next events, about `limit` bytes of them, and the offset to `commit` once they are written."""
        data = os.pread(self._file, min(limit, self.pending), self._offset)
        while (end := data.rfind(b"\n") + 1) == 0 and self._offset + len(data) < self._size:
            data += os.pread(self._file, limit, self._offset + len(data))  # one line longer than the limit
        events = []
        for line in data[:end].splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:  # the line that a kill tore
                continue
        return events, self._offset + end

    def commit(self, offset: int) -> None:
        """Everything before `offset` is on the server."""
        self._offset = offset
        aside = self._cursor.with_suffix(".tmp")
        aside.write_text(str(offset))
        aside.replace(self._cursor)

    def close(self, *, remove: bool) -> None:
        """Closes the file; `remove` when nothing in it is needed any more."""
        os.close(self._file)
        if remove:
            self._cursor.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _stored(self) -> int:
        text = self._cursor.read_text() if self._cursor.exists() else ""
        return min(int(text), self._size) if text.isdigit() else 0
