"""Kills the driver at random points of `micro`, resumes, and compares with a run that nobody disturbed.

    python tests/faults/kills.py [--kills 20] [--each 5] [--seed 0] [--work DIR]

Several kills hit one execution, one after the other; each is at a random step (see saboteur.py) after the one before.
Only kills that hit are counted. Exit code 1 if any execution ends in other tables than the undisturbed one.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import HERE, STUDY, Driver, differences, run_of

ARGUMENTS = ["--tracking-uri", "none", "--reproducible", "--seed", "1"]


def driver(work: Path, storage: Path, kill_at: int, resume: str | None) -> Driver:
    """A driver that kills itself."""
    command = [sys.executable, str(HERE / "saboteur.py"), str(kill_at), str(work / "steps.log"), str(STUDY)]
    more = ["--resume", resume] if resume else []
    return Driver(work / "driver.log", [*command, "--storage", str(storage), *ARGUMENTS, *more])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--each", type=int, default=5, help="kills aimed at one execution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="kills-"))
    work.mkdir(exist_ok=True)
    began = time.monotonic()
    undisturbed = work / "undisturbed"
    first = driver(work, undisturbed, 0, None)
    if first.ended():
        print(first.log.read_text())
        return 1
    total = int((work / "steps.log").read_text().split()[0])
    print(f"undisturbed: {total} steps in {time.monotonic() - began:.0f} s", flush=True)
    numbers, hit, executions, bad = random.Random(options.seed), 0, 0, 0
    while hit < options.kills:
        storage = work / f"execution-{executions}"
        executions += 1
        aims = sorted(numbers.sample(range(1, total), min(options.each, options.kills - hit)))
        gaps = [b - a for a, b in zip([0, *aims], aims, strict=False)] + [0]
        points: list[int] = []
        resume = None
        for gap in gaps:
            one = driver(work, storage, gap, resume)
            code = one.ended()
            if orphans := one.orphans():
                bad += 1
                print(f"  orphans: {orphans}")
            if code == -signal.SIGKILL:
                hit += 1
                points.append(gap)
                if (storage / "faults").exists() and any((storage / "faults").glob("*/study.json")):
                    resume = run_of(storage).name
                continue
            if code:
                bad += 1
                print(f"  exit code {code} after kills at {points}:\n{one.log.read_text()[-3000:]}")
            break
        found = ["unfinished"] if code else differences(run_of(undisturbed), run_of(storage))
        bad += bool(found)
        print(
            f"execution {executions}: killed {len(points)} times, {'+'.join(map(str, points))} steps in: "
            f"{'; '.join(found) or 'identical tables'} ({time.monotonic() - began:.0f} s so far)",
            flush=True,
        )
    print(f"{hit} kills in {executions} executions, {bad} bad outcomes, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
