"""What Ray Tune adds: trials that train almost nothing, handed out and taken in by the study's own driver code."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import ray

from benchmarks.timing import Rows
from studies.regularizer_ablation import PRESETS
from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.seeding import derive
from vaetune.storage import Storage
from vaetune.study import Resources, cluster, tuning
from vaetune.study.members import GroupSpec
from vaetune.study.pool import Pool
from vaetune.study.tuning import Row
from vaetune.training.seeds import Member, Seeds


class Trivial:
    """A `tuning.Phase` of `trials` one-epoch trials of a tiny network; it only notes when results come."""

    def __init__(self, trials: int) -> None:
        self.left = list(range(trials))[::-1]
        self.training = 0.0
        self.arrived: list[tuple[float, float]] = []

    @property
    def exhausted(self) -> bool:
        """Whether all have been handed out."""
        return not self.left

    def next(self) -> GroupSpec | None:
        """The next trial."""
        number = self.left.pop()
        configuration = Configuration(
            model=SupervisedVAEConfig(trunk=(4,), latents=2),
            training=TrainingConfig(epochs=1, batch_size=16),
            dataset=DatasetConfig(n_validation=16),
        )
        seeds = Seeds(*(derive(f"{number}/{stream}") for stream in range(5)))
        id = f"trial-{number:04d}"
        return GroupSpec(id, "select", (Member(id, "arm", configuration, seeds),))

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        """Takes in a trial's only result."""
        self.training += sum(row["seconds"] for row in rows)
        self.arrived.append((time.perf_counter(), time.process_time()))
        return False

    def lost(self, spec: GroupSpec, reason: str) -> None:
        """Nothing may be lost here."""
        raise AssertionError(reason)


def throughput(sizes: Sequence[int]) -> Rows:
    """Per trial and size: slot seconds that Tune adds (actors reused, no tracking), and the driver's CPU seconds.

    Both from the tenth result to the last, so that starting Ray and the first actors does not count.
    `cluster.prepare` comes before this module is imported.
    """
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(64) % 4
    rows: Rows = []
    with cluster.connected(None, PRESETS["smoke"]) as slots:  # whose trials ask for one CPU
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="vaetune-bench-") as folder:
                data = {
                    "pool": Pool(images, labels),
                    "classes": 4,
                    "storage": Storage(folder),
                    "refit": False,
                    "stall": 600.0,
                    "driver": None,
                    "most": 1,
                }
                phase = Trivial(size)
                tuning.run(phase, data, lambda arm: Resources(), slots, lambda: False)
            (wall0, cpu0), (wall1, cpu1) = phase.arrived[9], phase.arrived[-1]
            counted = len(phase.arrived) - 10
            intervals = np.diff([wall for wall, _ in phase.arrived[9:]])
            rows.append(
                {
                    "case": f"driver, {size} trials, {slots} slots",
                    "results": len(phase.arrived),
                    "added_slot_seconds": slots * (wall1 - wall0) / counted - phase.training / size,
                    "median_slot_seconds": slots * statistics.median(intervals),
                    "driver_cpu_seconds": (cpu1 - cpu0) / counted,
                }
            )
    assert not ray.is_initialized()
    return rows
