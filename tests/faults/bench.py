"""What the faults share: starting drivers, waiting for what they do, and comparing what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import pandas as pd

from vaetune.storage import Storage
from vaetune.tables import Tables

HERE = Path(__file__).parent
STUDY = HERE / "faults.py"
FIXED = ["--reproducible", "--seed", "1"]
HARMS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "bit-flipped": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "missing": lambda file: file.unlink(),
}
"""What may befall a checkpoint's file."""

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
    """A driver in a session of its own, with its output in a file; with `kill`, one that kills itself (saboteur.py)."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, log: Path, *arguments: str, kill: str = "", environment: dict[str, str] | None = None) -> None:
        self.log = log
        start = [str(HERE / "saboteur.py"), kill, str(log.with_suffix(".steps"))] if kill else ["-m", "vaetune.study"]
        # The workers' default niceness starves them where anything else runs.
        everything = os.environ | {"RAY_worker_niceness": "0"} | (environment or {})
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *start, str(STUDY), *FIXED, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=everything,
                start_new_session=True,
            )
        self._family: dict[tuple[int, str], str] = {}
        Driver.started.append(self.process)

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

    def orphans(self, within: float = 15.0) -> list[str]:
        """What outlives the driver by more than that many seconds: processes, by their command lines, and folders."""
        deadline = time.monotonic() + within
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def _left(self) -> list[str]:
        now = {(pid, started) for pid, (_, started, _) in processes().items()}
        sessions = [name.split()[-2] for name in self._family.values() if "reaper.py" in name]
        alive = [name[:60] for who, name in self._family.items() if who in now]
        return alive + [folder for folder in sessions if Path(folder).exists()]


def processes() -> dict[int, tuple[int, str, str]]:
    """Every process but zombies: its parent, when it started (in ticks), and its command line."""
    out = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                name = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            except OSError:  # it has just ended
                continue
            if status[0] != "Z":
                out[int(folder.name)] = (int(status[1]), status[19], name)
    return out


def wait_for(state: Callable[[], bool], what: str) -> None:
    """Waits for a state, by looking."""
    deadline = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < deadline, f"{PATIENCE:.0f} s without {what}"
        time.sleep(0.25)


def run_of(root: Storage) -> str:
    """The only execution in a storage; "" before there is one."""
    runs = [name for name in root.list("faults") if root.exists(f"faults/{name}/study.json")]
    assert len(runs) <= 1, runs
    return runs[0] if runs else ""


def at(root: Storage) -> Storage:
    """The folder of the only execution in a storage."""
    return root.below(f"faults/{run_of(root)}")


def parts(run: Storage, tables: Iterable[str] = tuple(_KEYS)) -> set[str]:
    """The parts of an execution's tables."""
    return {part for table in tables for part in run.list(f"tables/{table}")}


def differences(expected: Storage, found: Storage) -> tuple[int, int, list[str]]:
    """Rows lost and rows there twice, in all, and what differs otherwise between two executions' tables but times."""
    lost, twice, other = 0, 0, []
    for name, key in _KEYS.items():
        left, right = (
            Tables(run).read(name).drop(columns=_VOLATILE, errors="ignore").sort_values(key, ignore_index=True)
            for run in (expected, found)
        )
        twice += int(right.duplicated(key).sum())
        lost += len(set(left[key].itertuples(index=False)) - set(right[key].itertuples(index=False)))
        try:
            pd.testing.assert_frame_equal(left.sort_index(axis=1), right.sort_index(axis=1), check_exact=True)
        except AssertionError as error:
            other.append(f"{name}: " + " ".join(str(error).split())[:300])
    return lost, twice, other
