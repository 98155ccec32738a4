"""The one exception that means "the user can mend this": the command line prints it and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What is wrong, where, and how to mend it, in words for the person at the keyboard."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that is not there, with the nearest names that are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listed = f"known: {', '.join(names)}" if names else "there is none"
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else listed
    return UserError(f"unknown {kind} {name!r}: {hint}")
