"""Whether a worker on another machine runs what the driver runs: the same code, the same libraries."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import vaetune
from vaetune.errors import UserError

_PACKAGES = ("numpy", "ray", "torch")


@functools.cache
def versions() -> Mapping[str, str]:
    """Of this process: vaetune's by its sources, because a study is run from a checkout that changes."""
    root = Path(vaetune.__file__).parent
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        code.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "vaetune": f"{vaetune.__version__}+{code.hexdigest()[:12]}",
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def alike(driver: Mapping[str, str] | None) -> None:
    """Raises `UserError` in a worker that runs something else than the driver with these versions; None: no other."""
    if driver is not None and (different := differences(driver, versions())):
        raise UserError(
            f"machine {platform.node()} has {different}: `ray up` brings the same code and requirements.lock to all"
        )


def differences(driver: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """In words; "" if there are none."""
    unlike = [name for name in driver if driver[name] != worker[name]]
    return ", ".join(f"{name} {worker[name]} (the driver: {driver[name]})" for name in unlike)
