"""The token of a Ray cluster: without it nobody submits, connects or joins, so it must be there and be private."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from vaetune.errors import UserError

_MAKE = "(umask 077; mkdir -p ~/.ray; openssl rand -hex 32 >~/.ray/auth_token)"


def require(environment: Mapping[str, str] = os.environ) -> None:
    """Raises `UserError` where there is no token, or one in a file that others can read."""
    if environment.get("RAY_AUTH_MODE") == "disabled" or environment.get("RAY_AUTH_TOKEN"):
        return
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        empty = not path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UserError(f"no token of the cluster: {error}; make one before `ray up`: {_MAKE}") from error
    if mode & 0o077:
        raise UserError(f"others can read the cluster's token: chmod 600 {path} (its mode is {mode:o})")
    if empty:
        raise UserError(f"the cluster's token {path} is empty; make one before `ray up`: {_MAKE}")


def refused(cluster: str) -> UserError:
    """What to say where a cluster knows another token."""
    return UserError(
        f"the cluster at {cluster} does not know this token: ~/.ray/auth_token, or what RAY_AUTH_TOKEN or "
        "RAY_AUTH_TOKEN_PATH name, must be that of its head, and RAY_AUTH_MODE must be token"
    )
