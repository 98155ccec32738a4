"""SIGKILL at random steps: of real drivers on Ray, and of many whose cluster is their own process."""

from __future__ import annotations

import random
import time

from bench import HARMS, at, differences
from chain import Bench, Chain, Row

from vaetune.storage import Storage

REAL, KILLS, EACH = 4, 18, 6


def random_kills(bench: Bench) -> None:
    """Kills of one real execution, each anywhere in what a study does."""
    numbers, total = random.Random(0), int((bench.work / "undisturbed.steps").read_text().split()[0])
    chain = Chain(bench, "random")
    aims = sorted(numbers.sample(range(1, total), REAL))
    for gap in [b - a for a, b in zip([0, *aims], aims, strict=False)]:
        chain.killed(f"kill -9 of the driver, {gap} steps on", f"+{gap}")
    chain.end(chain.driver())


def many_kills(bench: Bench) -> None:
    """Without Ray, all else being what a driver and a worker do: many kills, and checkpoints damaged in training."""
    from alone import Forked  # imports torch and Ray, which the other cases do without

    forked, undisturbed, numbers = Forked(), bench.work / "alone", random.Random(1)
    total, expected = forked(undisturbed, 0), at(Storage(undisturbed))
    for number in range(KILLS // EACH):
        storage, began, killed = bench.work / f"alone-{number}", time.monotonic(), 0
        aims = sorted(numbers.sample(range(1, total), EACH))
        gaps = [b - a for a, b in zip([0, *aims], aims, strict=False)]
        for gap in [*gaps, 0]:
            if forked(storage, gap):
                break
            killed += 1
        seconds = (time.monotonic() - began) / (killed + 1)
        row = Row(
            f"{killed} kills, {'+'.join(map(str, gaps[:killed]))} steps on", began, "without Ray", seconds=seconds
        )
        lost, twice, row.wrong = differences(expected, at(Storage(storage)))
        bench.show(row, lost, twice, 0)
    for harm, action in HARMS.items():
        storage, began = bench.work / f"alone-{harm}", time.monotonic()
        assert not forked(storage, 0, partial=4)
        found = sorted(storage.glob("faults/*/checkpoints/*/partial/*/training.safetensors"))
        assert len(found) == 2, found
        action(found[-1])
        forked(storage, 0)
        row = Row(f"a {harm} checkpoint in training", began, "went on from the one before", [])
        row.seconds = time.monotonic() - began
        lost, twice, row.wrong = differences(expected, at(Storage(storage)))
        bench.show(row, lost, twice, 0)
