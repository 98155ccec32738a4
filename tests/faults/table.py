"""Breaks studies for real, one fault after the other, and prints a table: fault × what became of the study.

    python tests/faults/table.py [--only WORD] [--work DIR]

Lost and duplicated are rows of the tables, compared with those of a run that nobody disturbed; running is the number of
MLflow runs that are left RUNNING; the time is from the fault to the end of the driver that finished the study.
Exit code 1 if any outcome is not as it should be. Needs root for the small disk and libfaketime for the clock.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import Driver, differences, run_of, study, wait_for

from vaetune.storage import Storage
from vaetune.tables import Tables

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
FIXED = ["--reproducible", "--seed", "1"]


class Bench:
    """Where the faults happen, and the rows of the table so far."""

    def __init__(self, work: Path) -> None:
        self.work, self.bad = work, 0
        self.undisturbed: dict[str, Path] = {}

    def expected(self, preset: str) -> Path:
        """The tables of an undisturbed run of a preset, made once."""
        if preset not in self.undisturbed:
            storage = self.work / f"undisturbed-{preset}"
            code = self.start(storage, "undisturbed", "--preset", preset, tracking="none").ended()
            assert code == 0, (self.work / "undisturbed.log").read_text()
            self.undisturbed[preset] = run_of(storage)
        return self.undisturbed[preset]

    def start(self, storage: Path | str, log: str, *more: str, tracking: str = "", **environment: str) -> Driver:
        """A driver; tracked in SQLite beside its storage unless `tracking` says otherwise."""
        where = ["--storage", str(storage), "--tracking-uri", tracking or f"sqlite:///{storage}/mlflow.db"]
        return study(self.work / f"{log}.log", *where, *FIXED, *more, environment=environment)

    def row(self, fault: str, run: Path, since: float, driver: Driver, preset: str = "default", note: str = "") -> None:
        """One line of the table, from what the fault left behind."""
        code = driver.ended()
        found = [f"exit code {code}"] if code else differences(self.expected(preset), run)
        database = run.parents[1] / "mlflow.db"
        running = unended(database) if database.exists() else 0
        orphans = driver.orphans()
        self.say(fault, found + ([f"orphans: {orphans}"] if orphans else []), running, since, note)

    def say(self, fault: str, found: list[str], running: int, since: float, note: str = "") -> None:
        """Prints a line and remembers whether it is as it should be."""
        self.bad += bool(found or running)
        verdict = "; ".join(found) or "lost 0, duplicated 0"
        print(f"{fault:<34} | {verdict}, running {running} | {time.monotonic() - since:5.0f} s | {note}", flush=True)


def unended(database: Path) -> int:
    """MLflow runs that say that they still run."""
    with sqlite3.connect(database) as connection:
        return int(connection.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0])


def parts(storage: Path, table: str) -> bool:
    """Whether a table has any rows."""
    return any(storage.glob(f"faults/*/tables/{table}/part-*.parquet"))


def trained(storage: Path, phase: str) -> bool:
    """Whether the ledger has a row of a phase."""
    return parts(storage, "ledger") and phase in set(Tables(Storage(run_of(storage))).read("ledger")["phase"])


def phases(bench: Bench) -> None:
    """kill -9 of the driver in every phase of one execution, then to the end."""
    storage = bench.work / "phases"
    states: dict[str, Callable[[], bool]] = {
        "search": lambda: parts(storage, "history"),
        "select": lambda: trained(storage, "search"),
        "replicate": lambda: trained(storage, "select"),
        "evaluate": lambda: parts(storage, "predictions") or parts(storage, "replicates"),
        "report": lambda: (run_of(storage) / "report").exists(),
    }
    resume: list[str] = []
    since = time.monotonic()
    for phase, state in states.items():
        driver = bench.start(storage, f"phase-{phase}", *resume)
        driver.until(state, f"the beginning of {phase}")
        driver.process.kill()
        driver.ended()
        orphans = driver.orphans()
        bench.say(f"kill -9 of the driver in {phase}", [f"orphans: {orphans}"] if orphans else [], 0, time.monotonic())
        resume = ["--resume", run_of(storage).name]
    since = time.monotonic()
    driver = bench.start(storage, "phase-end", *resume)
    driver.ended()
    bench.row("  … after all five, resumed", run_of(storage), since, driver)


def signals(bench: Bench) -> None:
    """SIGINT, SIGTERM, and SIGINT twice, in one execution."""
    storage, resume = bench.work / "signals", list[str]()
    for name, numbers in (("SIGINT", [2]), ("SIGTERM", [15]), ("SIGINT twice", [2, 2])):
        driver = bench.start(storage, "signals", *resume)
        before = len(list(storage.glob("faults/*/tables/history/*")))
        driver.until(lambda n=before: len(list(storage.glob("faults/*/tables/history/*"))) > n, "history")  # type: ignore[misc]
        since = time.monotonic()
        for number in numbers:
            os.kill(driver.process.pid, number)
        code = driver.ended()
        found = [] if code == 128 + numbers[-1] else [f"exit code {code}"]
        text = driver.log.read_text()
        found += [] if "--resume" in text and "Traceback" not in text else ["no command to resume"]
        orphans = driver.orphans()
        bench.say(name, found + ([f"orphans: {orphans}"] if orphans else []), unended(storage / "mlflow.db"), since)
        resume = ["--resume", run_of(storage).name]
    since = time.monotonic()
    bench.row("  … after all three, resumed", run_of(storage), since, bench.start(storage, "signals", *resume))


def processes_of_ray(bench: Bench) -> None:
    """kill -9 of a worker, which the study survives, and of the raylet, which ends it resumably at worst."""
    storage = bench.work / "worker"
    driver = bench.start(storage, "worker", tracking="none")
    driver.until(lambda: parts(storage, "history"), "history")
    workers = [pid for pid, name in driver.look().items() if "Trainable" in name]
    since = time.monotonic()
    os.kill(workers[0], signal.SIGKILL)
    driver.ended()
    bench.row("kill -9 of a trial's worker", run_of(storage), since, driver)

    storage = bench.work / "raylet"
    driver = bench.start(storage, "raylet", tracking="none")
    driver.until(lambda: parts(storage, "history"), "history")
    (raylet,) = (pid for pid, name in driver.look().items() if "/raylet/raylet " in name)
    since = time.monotonic()
    os.kill(raylet, signal.SIGKILL)
    code = driver.ended()
    again = bench.start(storage, "raylet-2", "--resume", run_of(storage).name, tracking="none")
    again.ended()
    bench.row("kill -9 of the raylet, resumed", run_of(storage), since, again, note=f"the driver ended with {code}")


def illness(bench: Bench) -> None:
    """NaN, an exception in the model, and a hang: one trial each fails, with its reason, and the others go on."""
    storage = bench.work / "ill"
    since = time.monotonic()
    driver = bench.start(storage, "ill", "--preset", "ill", tracking="none")
    code = driver.ended()
    found = [] if code == 0 else [f"exit code {code}"]
    ledger = Tables(Storage(run_of(storage))).read("ledger").set_index("trial_id")
    wanted = {
        "NaN at the 20th batch": "diverged",
        "an exception in a model": "ArithmeticError",
        "a hang": "worker lost",
    }
    for number, (fault, reason) in enumerate(wanted.items(), 1):
        row = ledger.loc[f"ill-{number:04d}"]
        right = row["outcome"] == "failed" and reason in row["reason"]
        bench.say(fault, found if right else [*found, f"{row['outcome']}: {row['reason'][-200:]}"], 0, since)
    others = ledger[ledger["phase"] == "search"].drop([f"ill-{n:04d}" for n in (1, 2, 3)])
    bench.say("  … the other trials", [] if (others["outcome"] == "finished").all() else ["failed too"], 0, since)


def damage(bench: Bench) -> None:
    """A truncated, a bit-flipped and a missing checkpoint, each the newest of a trial under way."""
    storage, resume = bench.work / "damage", list[str]()
    partial = "faults/*/checkpoints/*/partial/*/manifest.json"
    harms: dict[str, Callable[[Path], object]] = {
        "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
        "bit-flipped": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
        "missing": lambda file: file.unlink(),
    }
    for harm, action in harms.items():
        driver = bench.start(storage, "damage", "--preset", "slow", *resume, tracking="none")
        before = {str(path) for path in storage.glob(partial)}
        driver.until(lambda b=before: bool({str(p) for p in storage.glob(partial)} - b), "a checkpoint")  # type: ignore[misc]
        driver.process.kill()
        driver.ended()
        driver.orphans()
        action(max(storage.glob(partial)).with_name("training.safetensors"))
        bench.say(f"a {harm} checkpoint", [], 0, time.monotonic(), "resumed from the one before")
        resume = ["--resume", run_of(storage).name]
    since = time.monotonic()
    again = bench.start(storage, "damage", "--preset", "slow", *resume, tracking="none")
    bench.row("  … after all three, resumed", run_of(storage), since, again, preset="slow")


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """A tmpfs of 16 MiB."""
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def disk(bench: Bench) -> None:
    """A disk that is full for a while, and one that cannot be written."""
    with small_disk(bench.work / "disk") as storage:
        driver = bench.start(storage, "disk", tracking="none")
        driver.until(lambda: parts(storage, "history"), "history")
        since = time.monotonic()
        with (storage / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        driver.until(lambda: "the storage fails" in driver.log.read_text(), "the complaint")
        (storage / "ballast").unlink()
        driver.ended()
        said = driver.log.read_text().count("the storage fails")
        bench.row("a full disk, then space again", run_of(storage), since, driver, note=f"said {said} times")
        subprocess.run(["mount", "-o", "remount,ro", str(storage)], check=True)
        since = time.monotonic()
        driver = bench.start(storage, "readonly", tracking="none")
        code, text = driver.ended(), driver.log.read_text()
        wrong = [] if code == 2 and "cannot be written" in text and "Traceback" not in text else [text[-500:]]
        bench.say("a read-only result folder", wrong, 0, since, "exit code 2, one line")


def clock(bench: Bench) -> None:
    """The clock jumps a day ahead, then two back."""
    storage, offset = bench.work / "clock", bench.work / "offset"
    offset.write_text("+0d\n")
    driver = bench.start(
        storage,
        "clock",
        tracking="none",
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    driver.until(lambda: parts(storage, "history"), "history")
    since = time.monotonic()
    offset.write_text("+1d\n")
    driver.until(lambda: trained(storage, "search"), "a trial's end")
    offset.write_text("-1d\n")
    driver.ended()
    bench.row("the clock jumps ahead and back", run_of(storage), since, driver)


def two(bench: Bench) -> None:
    """A second driver for a run that has one."""
    storage = bench.work / "two"
    first = bench.start(storage, "two-first", tracking="none")
    first.until(lambda: parts(storage, "history"), "history")
    since = time.monotonic()
    second = bench.start(storage, "two-second", "--resume", run_of(storage).name, tracking="none")
    code, text = second.ended(), second.log.read_text()
    named = code == 2 and f"process {first.process.pid} on" in text
    bench.say("a second driver", [] if named else [text[-500:]], 0, since, "told who holds the run")
    bench.row("  … and the first", run_of(storage), since, first)


def s3(bench: Bench) -> None:
    """kill -9 of the S3 server that holds the results, and its return."""
    keys = {"AWS_ACCESS_KEY_ID": "faults", "AWS_SECRET_ACCESS_KEY": "faults-secret", "AWS_REGION": "us-east-1"}
    os.environ |= keys
    server = weed(bench.work)
    uri = "s3://faults/runs?endpoint_override=http://127.0.0.1:18333"
    root = Storage(uri)
    driver = bench.start(uri, "s3", tracking="none")
    driver.until(lambda: any(root.list(f"faults/{run}/tables/history") for run in root.list("faults")), "history")
    since = time.monotonic()
    server.kill()
    driver.until(lambda: "the storage fails" in driver.log.read_text(), "the complaint")
    server = weed(bench.work)
    code = driver.ended()
    (run,) = root.list("faults")
    copy = bench.work / "s3-copy"
    for table in ("ledger", "history", "replicates", "predictions"):
        for name in root.list(f"faults/{run}/tables/{table}"):
            Storage(copy).write(f"tables/{table}/{name}", root.read(f"faults/{run}/tables/{table}/{name}"))
    found = [f"exit code {code}"] if code else differences(bench.expected("default"), copy)
    bench.say("kill -9 of the S3 server, restarted", found, 0, since)
    server.kill()


def weed(work: Path) -> subprocess.Popen[bytes]:
    """A SeaweedFS S3 server with the bucket "faults", up."""
    from urllib.error import URLError
    from urllib.request import urlopen

    command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={work / 'weed'}", "-ip=127.0.0.1"]
    options = ["-ip.bind=127.0.0.1", "-s3.port=18333", "-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
    (work / "weed").mkdir(exist_ok=True)
    with (work / "weed.log").open("a") as log:
        more = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-bucket=faults"]
        server = subprocess.Popen([*command, *options, *more], stdout=log, stderr=log)

    def up() -> bool:
        try:
            return bool(urlopen("http://127.0.0.1:18333/healthz", timeout=2).status == 200)
        except (URLError, OSError):
            return False

    wait_for(up, "the S3 server")
    return server


CASES = (phases, signals, processes_of_ray, illness, damage, disk, clock, two, s3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"cases whose name contains this: {[c.__name__ for c in CASES]}")
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="faults-"))
    work.mkdir(exist_ok=True)
    bench = Bench(work)
    for case in CASES:
        if options.only in case.__name__:
            try:
                case(bench)
            except AssertionError as error:
                bench.say(case.__name__, [str(error)], 0, time.monotonic())
    return 1 if bench.bad else 0


if __name__ == "__main__":
    sys.exit(main())
