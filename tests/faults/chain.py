"""One execution that meets several faults, one after the other, and the rows that they make in the table."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench import Driver, at, differences, parts, run_of, wait_for

from vaetune.storage import Storage
from vaetune.tables import Tables

_OURS = """
from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'vaetune.id'
join tags o on o.run_uuid = r.run_uuid and o.key = 'vaetune.run' and o.value = ?
where r.lifecycle_stage = 'active'
"""
_RUNNING = f"select count(*) {_OURS} and r.status = 'RUNNING'"
_TWINS = f"select coalesce(sum(n - 1), 0) from (select count(*) n {_OURS} group by t.value)"


def ask(database: Path, question: str, *values: str) -> int:
    """A number out of MLflow's database."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return int(connection.execute(question, values).fetchone()[0])


@dataclass
class Row:
    """A fault and what became of it; `seconds` from the fault to the next thing that the study wrote down."""

    fault: str
    since: float
    note: str = ""
    wrong: list[str] = field(default_factory=list)
    seconds: float | None = None


class Bench:
    """Where the faults happen, the table so far, and the tables of a run that nobody disturbed."""

    def __init__(self, work: Path) -> None:
        self.work, self.bad, self.database = work, 0, work / "mlflow.db"
        self.expected = Storage(work / "undisturbed")
        print(f"{'fault':<44} | lost | duplicated | running | recovered in | outcome", flush=True)
        if not (run_of(self.expected) and at(self.expected).exists("report/report.html")):  # of an earlier `--work`
            began = time.monotonic()
            driver = Driver(work / "undisturbed.log", *self.arguments(work / "undisturbed"), kill="+0")
            assert driver.ended() == 0, driver.log.read_text()
            self.show(Row("none", began, "finished", seconds=time.monotonic() - began), 0, 0, 0)
        self.expected = at(self.expected)

    def arguments(self, root: Path | str, tracking: str = "") -> list[str]:
        """Tracked in one SQLite file unless `tracking` says otherwise."""
        return ["--storage", str(root), "--tracking-uri", tracking or f"sqlite:///{self.database}"]

    def show(self, row: Row, lost: int, twice: int, running: int) -> None:
        """Prints a line and remembers whether it is as it should be."""
        bad = bool(row.wrong or lost or twice or running or row.seconds is None)
        self.bad += bad
        seconds = "never" if row.seconds is None else f"{row.seconds:.1f} s"
        verdict = "BAD: " + "; ".join(row.wrong) if bad else row.note
        print(f"{row.fault:<44} | {lost:>4} | {twice:>10} | {running:>7} | {seconds:>12} | {verdict}", flush=True)


class Chain:
    """An execution and the rows of its faults, which are printed by `end`, when it is known what became of them."""

    def __init__(self, bench: Bench, name: str, root: str = "", database: Path | None = None) -> None:
        self.bench, self.name = bench, name
        self.root = Storage(root or bench.work / name)
        self.database = database or bench.database
        self.rows: list[Row] = []
        self._before: set[str] = set()
        self._drivers = 0

    @property
    def run(self) -> Storage:
        """The execution's folder."""
        return at(self.root)

    def driver(self, *more: str, kill: str = "", tracking: str = "", **environment: str) -> Driver:
        """A driver, which resumes the execution if there is one."""
        run = run_of(self.root)
        self._drivers += 1
        log = self.bench.work / f"{self.name}-{self._drivers}.log"
        where = [*self.bench.arguments(self.root.uri, tracking), *(["--resume", run] if run else []), *more]
        return Driver(log, *where, kill=kill, environment=environment)

    def running(self) -> int:
        """This execution's MLflow runs that say that they still run."""
        return ask(self.database, _RUNNING, run_of(self.root))

    def traces(self) -> set[str]:
        """What the study has written down."""
        return parts(self.run) | set(self.run.list("report")) if run_of(self.root) else set()

    def fault(self, fault: str, note: str = "") -> Row:
        """It has just happened."""
        row = Row(fault, time.monotonic(), note)
        self.rows.append(row)
        self.mark()
        return row

    def mark(self) -> None:
        """From here on, what is written shows that the study goes on."""
        self._before = self.traces()

    def goes_on(self, driver: Driver, what: str = "new results") -> None:
        """Waits until the study has written something since the last fault, or the call before."""
        before = self._before
        self.until(driver, lambda: bool(self.traces() - before), what)
        self.mark()

    def until(self, driver: Driver, state: Callable[[], bool], what: str) -> None:
        """`Driver.until`, with an eye on whether the study goes on."""
        driver.until(lambda: self._watch() or state(), what)
        self._watch()

    def ended(self, driver: Driver) -> int:
        """`Driver.ended`, likewise."""
        wait_for(lambda: bool(driver.look() and self._watch()) or driver.process.poll() is not None, "the driver's end")
        self._watch()
        return driver.ended()

    def _watch(self) -> bool:
        """Notes when the study goes on after its last fault; always False."""
        waiting = [row for row in self.rows if row.seconds is None]
        if waiting and self.traces() - self._before:
            for row in waiting:
                row.seconds = time.monotonic() - row.since
        return False

    def gone(self, driver: Driver) -> list[str]:
        """Complaints about processes that have outlived a driver."""
        orphans = driver.orphans()
        return [f"outlived the driver: {orphans}"] if orphans else []

    def killed(self, fault: str, where: str) -> None:
        """A driver that kills itself, see saboteur.py."""
        driver = self.driver(kill=where)
        code = self.ended(driver)
        row = self.fault(fault, "resumed")
        row.wrong += [] if code == -9 else [f"exit code {code}: {driver.log.read_text()[-1000:]}"]
        row.wrong += self.gone(driver)

    def signalled(self, fault: str, *numbers: int) -> None:
        """A driver that gets signals once it has trained something."""
        self.mark()
        driver = self.driver()
        self.goes_on(driver)
        row = self.fault(fault)
        for number in numbers:
            os.kill(driver.process.pid, number)
            time.sleep(0.2)  # two at the very same moment are one to the kernel
        code, text = driver.ended(), driver.log.read_text()
        took = time.monotonic() - row.since
        self.mark()  # what it still put away is no recovery
        row.note = f"exit code {code} after {took:.1f} s, resumed"
        row.wrong += [] if code == 128 + numbers[-1] else [f"exit code {code}: {text[-1000:]}"]
        row.wrong += [] if "--resume" in text and "Traceback" not in text else [f"unclear: {text[-1000:]}"]
        row.wrong += [f"took {took:.1f} s"] if took > (20 if len(numbers) == 1 else 6) else []
        row.wrong += self.gone(driver)
        if len(numbers) == 1 and (running := self.running()):
            row.wrong.append(f"{running} runs left RUNNING by the signal")

    def end(self, driver: Driver, expected: Storage | None = None) -> None:
        """Waits for the driver that finishes the study, compares its tables, and prints the rows."""
        code = self.ended(driver)
        wrong = ([f"exit code {code}: {driver.log.read_text()[-1000:]}"] if code else []) + self.gone(driver)
        lost, twice, other = differences(expected or self.bench.expected, self.run)
        twice += ask(self.database, _TWINS, run_of(self.root))
        running = self.running()
        for row in self.rows:
            row.wrong += wrong + other
            self.bench.show(row, lost, twice, running)

    def ledger(self) -> Tables:
        """The execution's tables."""
        return Tables(self.run)
