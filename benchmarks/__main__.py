"""`python -m benchmarks [PART ...]`: runs the parts, prints Markdown, stores Markdown and JSON."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from vaetune.training.environment import ENVIRONMENT

# Before torch loads: one thread and no spinning, as in every worker of a study.
os.environ.update(ENVIRONMENT)


def main() -> int:
    """Runs what is asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which of them (all)")
    parser.add_argument("--rounds", type=int, default=9, help="timed turns of every route (default 9)")
    parser.add_argument("--dataset", default="fashion_mini", help="of the epoch benchmarks (fashion_mini)")
    parser.add_argument("--data-root", type=Path, help="where datasets lie")
    parser.add_argument("--trials", type=int, nargs="*", default=[50, 200], help="sizes of the driver benchmark")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the stored results")
    given = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    from benchmarks import cold, epochs, kernels, machine, members, table
    from vaetune.datasets import open_dataset

    data = open_dataset(given.dataset, given.data_root).development()
    rounds = given.rounds
    parts: dict[str, Callable[[], list[dict[str, object]]]] = {
        "mlp_vae": lambda: epochs.mlp_vae(data, rounds),
        "vib": lambda: epochs.vib(data, rounds),
        "conv_vae": lambda: epochs.conv_vae(data, rounds),
        "roofline": lambda: kernels.roofline(data, rounds),
        "sixteen": lambda: members.sixteen(rounds),
        "fused": lambda: members.fused(max(3, rounds // 3)),
        "cold": lambda: cold.starts(max(3, rounds // 3)),
        "driver": lambda: _driver(given.trials),
    }
    if unknown := [part for part in given.parts if part not in parts]:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(parts)}")
    facts = machine.describe() | {"dataset": f"{given.dataset}, {len(data)} images", "ceilings": machine.ceilings()}
    results = {}
    for part in given.parts or parts:
        results[part] = parts[part]()
        print(table.section(part, results[part]), flush=True)
    facts["load_after"] = machine.describe()["load"]
    table.store(given.out, f"{datetime.now(UTC):%Y%m%d-%H%M%S}", facts, results)
    return 0


def _driver(sizes: list[int]) -> list[dict[str, object]]:
    from vaetune.study import cluster

    cluster.prepare(None)  # before Ray is imported
    from benchmarks import driver

    return driver.throughput(sizes)


if __name__ == "__main__":
    sys.exit(main())
