"""Where in the user's file an error came from, in one line."""

from __future__ import annotations

import os
import traceback

from vaetune.errors import UserError


def blame(error: BaseException, filename: str) -> str:
    """`file:line: kind: message` of an error that passed through `filename`; the line is the deepest in that file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    line = lines[-1] if lines else None
    text = str(error)
    if isinstance(error, SyntaxError):
        text = error.msg
        if error.filename == filename:
            line = error.lineno
        elif error.filename:
            text += f" ({shown(error.filename)}:{error.lineno})"
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{shown(filename)}{f':{line}' if line else ''}: {kind}{text or 'no message'}"


def shown(path: str | os.PathLike[str]) -> str:
    """The path as the user would type it: relative to the current directory when it lies below."""
    path = os.fspath(path)
    if not os.path.isabs(path):
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
