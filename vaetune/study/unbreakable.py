"""An output that may break without breaking what writes to it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TextIO


class Unbreakable(io.TextIOBase):
    """A stream whose writes cannot fail: at the first error it turns to the null device, also for other writers."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._quiet = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        # A terminal that cannot show a character gets a question mark.
        text = text.encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._quiet:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: the stream has been closed
            self._quiet = True
            self._discard()

    def _discard(self) -> None:
        """Points the descriptor at the null device: else Python's last flush fails again and spoils the exit code."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
