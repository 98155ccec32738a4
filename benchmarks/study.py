"""`python -m benchmarks.study RUN_FOLDER`: how much of a run's cores was spent on training, and on what the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vaetune.storage import Storage
from vaetune.tables import Tables


def efficiency(folder: Path) -> list[dict[str, Any]]:
    """Pure training seconds ÷ (wall × cores) of the phases that train, and of the whole run.

    The ledger's seconds are those that members trained, validation after each epoch included. A run that was resumed
    has more walls than the last, so its numbers are too good.
    """
    environment = json.loads((folder / "environment.json").read_text())
    ledger = Tables(Storage(folder)).read("ledger")
    cores, walls = environment["hardware"]["cores"], environment["wall_seconds"]
    training = float(ledger["seconds"].sum())
    # As first and last member saw it: without the start of Ray, which the phase's own wall has.
    span = (ledger["ended"].max() - ledger["started"].min()).total_seconds()
    phases = {name: wall for name, wall in walls.items() if name not in ("evaluate", "report")}
    return [
        {"case": name, "training_seconds": training, "wall_seconds": wall, "share": training / (wall * cores)}
        for name, wall in {
            "from first start to last end": span,
            " · ".join(phases): sum(phases.values()),
            "whole run": sum(walls.values()),
        }.items()
        if wall
    ]


def main() -> int:
    """Prints the table of one run; returns the exit code."""
    from benchmarks.table import section

    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    print(section(folder.name, efficiency(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
