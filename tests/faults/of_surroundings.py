"""Faults of what a study stands on, and of its models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from bench import HERE, at, differences
from chain import Bench, Chain, Row, ask
from leaks import contents, leaks, ray_logs, ray_token, stored
from servers import MLflow, Weed

from vaetune.storage import Storage
from vaetune.tables import Tables


def illness(bench: Bench) -> None:
    """NaN, an exception in the model, and a hang: one trial each fails, with its reason, and the others go on."""
    chain = Chain(bench, "ill")
    began = time.monotonic()
    driver = chain.driver("--preset", "ill")
    code = chain.ended(driver)
    wrong = ([f"exit code {code}: {driver.log.read_text()[-1000:]}"] if code else []) + chain.gone(driver)
    table = chain.ledger().read("ledger")
    ledger = table.drop_duplicates("trial_id").set_index("trial_id")
    twice, running = len(table) - len(ledger), chain.running()
    members = {"search": 6, "select": 1, "replicate": 6}
    lost = sum(abs(n - (ledger["phase"] == phase).sum()) for phase, n in members.items())
    wanted = {
        "NaN at the 20th batch": "diverged",
        "an exception in a model": "ArithmeticError",
        "a hang": "worker lost",
    }
    for number, (fault, reason) in enumerate(wanted.items(), 1):
        ill, after = ledger.loc[f"ill-{number:04d}"], ledger.loc[f"ill-{number + 1:04d}"]
        right = ill["outcome"] == "failed" and reason in ill["reason"] and ill["seconds"] > 0
        row = Row(fault, began, f"that trial failed: {reason}; the others finished", [*wrong])
        row.seconds = (after["started"] - ill["started"]).total_seconds()
        row.wrong += [] if right else [f"{ill['outcome']}: {ill['reason'][-200:]}"]
        others = ledger.drop([f"ill-{n:04d}" for n in (1, 2, 3)])
        row.wrong += [] if (others["outcome"] == "finished").all() else ["others failed too"]
        bench.show(row, lost, twice, running)


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
    with small_disk(bench.work / "disk") as folder:
        chain = Chain(bench, "disk")
        driver = chain.driver(FAULTS_SLOW="1.5")
        chain.goes_on(driver)
        row = chain.fault("a full disk, then space again")
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        chain.until(driver, lambda: "; trying again" in driver.log.read_text(), "the complaint")
        (folder / "ballast").unlink()
        chain.ended(driver)
        said = driver.log.read_text().count("; trying again")
        row.note = f"waited and went on; complaints: {said}"
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        row, before = chain.fault("a read-only result folder"), time.monotonic()
        second = chain.driver()
        code, text = second.ended(), second.log.read_text()
        row.seconds = time.monotonic() - before
        row.note = f"exit code {code} at once: cannot be written"
        wrong = code != 2 or "cannot be written" not in text or "Traceback" in text
        row.wrong += [text[-1000:]] if wrong else []
        chain.end(driver)


def clock(bench: Bench) -> None:
    """The clock jumps a day ahead, then two back. Without Ray: its servers do not start under libfaketime."""
    folder, began = bench.work / "clock", time.monotonic()
    for name, environment in (("still", {}), ("jumping", _faked(bench.work / "offset"))):
        command = [sys.executable, str(HERE / "alone.py"), str(folder / name), str(bench.work / "offset")]
        subprocess.run(command, env=os.environ | environment, check=True)
    expected, found = (at(Storage(folder / name)) for name in ("still", "jumping"))
    row = Row("the clock jumps a day ahead, then two back", began, "went on; without Ray")
    row.seconds = time.monotonic() - began
    lost, twice, row.wrong = differences(expected, found)
    started = Tables(found).read("ledger")["started"]
    apart = (started.max() - started.min()) / timedelta(days=1)  # two, less what lies between the phases
    row.wrong += [] if round(apart, 2) == 2 else [f"the clock did not jump: {apart} days"]
    bench.show(row, lost, twice, 0)


def _faked(offset: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is off by what that file says."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library, "needs libfaketime"
    offset.write_text("+0d\n")
    only = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset)} | only


def servers(bench: Bench) -> None:
    """kill -9 of MLflow's server and of the S3 server that holds the results, and secrets in what the study leaves."""
    secrets = {name: f"{name.lower()}-is-secret" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    folder = bench.work / "servers"
    folder.mkdir()
    shutil.copy(bench.database, folder / "mlflow.db")
    mlflow, weed = MLflow(folder), Weed(folder, secrets)
    os.environ |= secrets | {"AWS_ENDPOINT_URL": weed.endpoint, "AWS_REGION": "us-east-1"}
    password = "the-password-of-mlflow"
    tracking = f"http://vaetune:{password}@127.0.0.1:{mlflow.port}"
    try:
        chain = Chain(bench, "s3", "s3://faults/runs", mlflow.database)
        driver = chain.driver(tracking=tracking, FAULTS_SLOW="1.5")
        chain.goes_on(driver)
        away = chain.fault("kill -9 of the MLflow server, restarted", "values kept and sent later")
        mlflow.kill()
        values = "select count(*) from metrics"
        before = ask(mlflow.database, values)
        chain.goes_on(driver)
        secrets |= {"MLflow's password": password, "Ray's token": ray_token(driver)}
        row = chain.fault("kill -9 of the S3 server, restarted")
        weed.kill()
        driver.until(lambda: "; trying again" in driver.log.read_text(), "the complaint")
        logs = ray_logs(driver)
        mlflow.start()
        weed.start()
        chain.until(driver, lambda: ask(mlflow.database, values) > before, "values in MLflow")
        away.seconds = time.monotonic() - away.since
        chain.ended(driver)
        text = driver.log.read_text()
        row.note = f"waited and went on; complaints: {text.count('; trying again')}"
        chain.end(driver)
        row = Row("secrets in what that study left behind", time.monotonic(), "none")
        left = {"results in S3": stored(chain.root), "MLflow's files": contents(bench.work / "mlartifacts")}
        left["MLflow's database"] = {"mlflow.db": mlflow.database.read_bytes()}
        row.wrong = leaks(secrets, left, witness="other") + leaks(secrets, {"Ray's logs": logs}, witness="raylet")
        row.wrong += leaks(secrets, {"output": {"output": text.encode()} | contents(bench.work / "runs")}, "evaluate")
        row.seconds = time.monotonic() - row.since
        bench.show(row, 0, 0, 0)
    finally:
        mlflow.kill()
        weed.kill()
