"""What faults and kills share: starting drivers, waiting for what they do, and comparing what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from vaetune.storage import Storage
from vaetune.tables import Tables

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDY = HERE / "faults.py"
PATIENCE = 600.0
"""Seconds for which a state is waited for: generous, because machines are shared."""

_VOLATILE = ["seconds", "started", "ended", "time", "group_id"]
_KEYS = {
    "ledger": ["trial_id"],
    "history": ["member_id", "epoch", "metric"],
    "replicates": ["replicate_id"],
    "predictions": ["replicate_id", "evaluation", "example"],
}


class Driver:
    """A driver in a session of its own, with its output in a file."""

    def __init__(self, log: Path, command: Iterable[str], environment: dict[str, str] | None = None) -> None:
        self.log = log
        # The workers' default niceness starves them where anything else runs.
        everything = os.environ | {"RAY_worker_niceness": "0"} | (environment or {})
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=everything, start_new_session=True
            )
        self._family: dict[tuple[int, str], str] = {}

    def look(self) -> dict[int, str]:
        """The processes below the driver now, with their command lines; remembers them for `orphans`."""
        below, everyone = {self.process.pid}, processes()
        while more := {pid for pid, (parent, _, _) in everyone.items() if parent in below} - below:
            below |= more
        found = {pid: everyone[pid] for pid in below - {self.process.pid}}
        self._family |= {(pid, started): name for pid, (_, started, name) in found.items()}
        return {pid: name for pid, (_, _, name) in found.items()}

    def until(self, state: Callable[[], bool], what: str) -> None:
        """Waits for a state; fails when the driver ends first."""
        wait_for(lambda: bool(self.look() and state()) or self.process.poll() is not None, what)
        if not state():
            raise AssertionError(f"the driver ended before {what}:\n{self.log.read_text()[-3000:]}")

    def ended(self) -> int:
        """Waits for the end; the exit code."""
        wait_for(lambda: self.process.poll() is not None or bool(self.look() and False), "the driver's end")
        return self.process.wait()

    def orphans(self, within: float = 30.0) -> list[str]:
        """The command lines of processes that outlive the driver by more than that many seconds."""
        deadline = time.monotonic() + within
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def _left(self) -> list[str]:
        now = {(pid, started) for pid, (_, started, _) in processes().items()}
        return [name for who, name in self._family.items() if who in now]


def processes() -> dict[int, tuple[int, str, str]]:
    """Every process but zombies: its parent, when it started (in ticks), and its command line."""
    out = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                name = (folder / "cmdline").read_text().replace("\0", " ")[:80]
            except OSError:  # it has just ended
                continue
            if status[0] != "Z":
                out[int(folder.name)] = (int(status[1]), status[19], name)
    return out


def study(log: Path, *arguments: str, environment: dict[str, str] | None = None) -> Driver:
    """Starts the study."""
    return Driver(log, [sys.executable, "-m", "vaetune.study", str(STUDY), *arguments], environment)


def wait_for(state: Callable[[], bool], what: str) -> None:
    """Waits for a state, by looking."""
    deadline = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < deadline, f"{PATIENCE:.0f} s without {what}"
        time.sleep(0.25)


def run_of(storage: Path) -> Path:
    """The folder of the only execution in a storage."""
    (run,) = (path for path in (storage / "faults").iterdir() if (path / "study.json").exists())
    return run


def differences(expected: Path, found: Path, tables: Iterable[str] = tuple(_KEYS)) -> list[str]:
    """What differs between two executions' tables but times, and rows that a table has twice; nothing when equal."""
    out = []
    for name in tables:
        key = _KEYS[name]
        left, right = (
            Tables(Storage(run)).read(name).drop(columns=_VOLATILE, errors="ignore").sort_values(key, ignore_index=True)
            for run in (expected, found)
        )
        twice = int(right.duplicated(key).sum())
        lost = len(set(left[key].itertuples(index=False)) - set(right[key].itertuples(index=False)))
        if twice or lost:
            out.append(f"{name}: {lost} lost, {twice} duplicated")
            continue
        try:
            pd.testing.assert_frame_equal(left.sort_index(axis=1), right.sort_index(axis=1), check_exact=True)
        except AssertionError as error:
            out.append(f"{name}: " + " ".join(str(error).split())[:300])
    return out
