"""One worker, in the process of the driver: what `tuning.run` does, without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaetune.study import trainable, tuning


def train_here(phase: tuning.Phase, data: Mapping[str, Any], *_: Any) -> None:
    """Trains all groups of a phase, one after the other; `data` is what `GroupTrainable.setup` is given."""
    while (spec := phase.next()) is not None:
        worker = trainable.GroupTrainable.__new__(trainable.GroupTrainable)
        worker.setup({"spec": spec}, **data)
        goes_on = True
        while goes_on:
            told = worker.step()
            goes_on = phase.result(spec, told["rows"], told["device"])
