"""vaetune: fair hyperparameter studies of variational autoencoders on Ray.

`vaetune.load`, `vaetune.load_all` and `vaetune.tables` bring a study's models and tables back; see `vaetune.pull`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaetune.pull.loading import load as load
    from vaetune.pull.loading import load_all as load_all

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Late, because torch takes seconds to import.
    if name in ("load", "load_all"):
        return getattr(importlib.import_module("vaetune.pull.loading"), name)
    if name == "tables":  # the module can be called
        return importlib.import_module("vaetune.tables")
    raise AttributeError(f"module 'vaetune' has no attribute {name!r}")
