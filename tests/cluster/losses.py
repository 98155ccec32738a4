"""What the loss of a machine costs its trials, by the clock: what was trained since the last checkpoint, and again."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucket import Bucket

from vaetune import checkpoints
from vaetune.storage import Storage
from vaetune.tables import Tables

ALLOWED_S = 30.0
"""Seconds of training that a lost machine may cost a trial whose epochs are shorter."""

LATE_S = 5.0
"""Seconds for which a trial has trained on since its last checkpoint when the machine goes: half of what lies between
two, so that the loss is no lucky one."""

Times = Mapping[str, Mapping[int, int]]
"""Of each member, the milliseconds since 1970 at which each of its epochs ended."""


@dataclass(frozen=True)
class Loss:
    """When a machine went, in milliseconds since 1970, and at which epochs those who trained then were written down."""

    at: int
    kept: Mapping[str, int]


def lose(laptop: Any, bucket: Bucket, study: subprocess.Popen[str], switch_off: Callable[[], None]) -> Loss:
    """Takes a machine away once all who train are written down, and have trained on since."""

    def late() -> dict[str, int]:
        kept, tables = bucket.partials(), bucket.tables()
        times, ended = told(tables), {*tables.read("ledger")["trial_id"]}
        since = [max(times[m].values()) - times[m][e] for m, e in kept.items() if e in times.get(m, {})]
        return kept if times.keys() - ended <= kept.keys() and max(since, default=0) >= 1000 * LATE_S else {}

    laptop.wait("first checkpoints", bucket.partials, 240, study)
    kept = laptop.wait("trained on from them", late, 120, study)
    switch_off()
    at = time.time_ns() // 1_000_000
    laptop.step("machine taken away")
    return Loss(at, kept)


def restored(laptop: Any, bucket: Bucket, study: subprocess.Popen[str], loss: Loss) -> None:
    """Waits until all have come further than they were written down, none of them from the beginning."""

    def further() -> bool:
        now = bucket.partials()
        back = {member: epoch for member, epoch in now.items() if epoch < loss.kept.get(member, 0)}
        assert not back, f"trained again from the beginning: {back}, written down before: {loss.kept}"
        # One whose checkpoint is gone was trained to its end.
        return all(now.get(member, math.inf) > epoch for member, epoch in loss.kept.items())

    laptop.wait("trials restored from S3", further, 300, study)


def cost(execution: Path, loss: Loss) -> dict[str, tuple[int, float]]:
    """Of each member that lost its machine: the epochs that were trained again, and the seconds that it lost.

    The history tells of every epoch when it was first heard of, and a member's own checkpoint when the one that counts
    was trained. The seconds run from the last epoch that counts to the moment at which the machine went, so they hold
    what nobody has heard of as well.
    """
    storage, found = Storage(execution), {}
    for member, first in told(Tables(storage)).items():
        if not checkpoints.finished(storage, member):  # a candidate's: only its score is kept
            continue
        counts = {e["epoch"]: e["time"] for e in checkpoints.load(storage, member).config["history"]}
        assert counts.keys() == first.keys(), f"{member}: the history has {sorted(first)}, the weights {sorted(counts)}"
        if again := [epoch for epoch, at in first.items() if at != counts[epoch]]:
            before = [at for at in counts.values() if at <= loss.at]
            found[member] = (len(again), (loss.at - max(before)) / 1000)
    return found


def told(tables: Tables) -> Times:
    """By the history of the execution."""
    found: dict[str, dict[int, int]] = {}
    for row in tables.read("history").drop_duplicates(["member_id", "epoch"]).itertuples():
        found.setdefault(row.member_id, {})[row.epoch] = row.time.value // 1_000_000
    return found
