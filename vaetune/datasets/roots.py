"""Where data is looked for, and what to say when it is not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vaetune.errors import UserError

SYSTEM = Path("/usr/share/datasets")


def writable_roots(explicit: Path | None) -> list[Path]:
    """The roots that belong to the user, best first: the explicit one, $VAETUNE_DATA, ~/.cache/vaetune."""
    variable = os.environ.get("VAETUNE_DATA")
    given = [explicit, Path(variable) if variable else None, Path("~/.cache/vaetune")]
    return [root.expanduser() for root in given if root is not None]


def writable_root(explicit: Path | None) -> Path:
    """The first of the user's roots in which a file can be made; raises `UserError` if there is none."""
    problems = []
    for root in writable_roots(explicit):
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):  # permission bits say little to root and on read-only mounts
                return root
        except OSError as error:
            problems.append(f"{root} ({error.strerror})")
    raise UserError(f"no data root can be written to: {', '.join(problems)}; choose another with --data-root")


def search_roots(explicit: Path | None) -> list[Path]:
    """All roots in the order in which they are searched; the system's folder comes last."""
    return [*writable_roots(explicit), SYSTEM]


def missing(name: str, tried: Sequence[tuple[Path, str]], expected: Sequence[str], ways: Sequence[str]) -> UserError:
    """A `UserError` that lists the paths `tried` with what was wrong with each, the files, and the ways to get them."""
    lines = [f"the data of {name!r} was not found. Tried, in this order:"]
    lines += [f"  {path}  ({problem})" for path, problem in tried]
    lines += ["Expected there:", f"  {', '.join(expected)}", "One of these gets it:"]
    lines += [f"  {way}" for way in ways]
    return UserError("\n".join(lines))
