"""Faults of a study's own processes."""

from __future__ import annotations

import os
import signal
import time

from bench import HARMS, Driver
from chain import Bench, Chain


def killed_driver(bench: Bench) -> None:
    """kill -9 of the driver in every phase, and checkpoints that are damaged meanwhile."""
    chain = Chain(bench, "killed")
    chain.killed("kill -9 of the driver in search", "search+9")
    chain.killed("kill -9 of the driver in select", "select+7")
    chain.killed("kill -9 of the driver in replicate", "replicate+7")
    chain.killed("kill -9 of the driver in evaluate", "evaluate+4")
    measured = set(chain.ledger().read("replicates")["replicate_id"])
    left = [name for name in chain.run.list("checkpoints") if "-rep" in name and name not in measured]
    for (harm, action), name in zip(HARMS.items(), left[-3:], strict=True):
        chain.fault(f"a {harm} checkpoint", "found and trained again")
        assert chain.run.local is not None
        action(chain.run.local / "checkpoints" / name / "weights.safetensors")
    driver = chain.driver(kill="report+2")  # while another process writes it
    code = chain.ended(driver)
    text = driver.log.read_text()
    for row, name in zip(chain.rows[-3:], left[-3:], strict=True):
        noticed = any(name in line and "trained again" in line for line in text.splitlines())
        row.wrong += [] if noticed else ["unnoticed"]
    row = chain.fault("kill -9 of the driver in report", "resumed")
    row.wrong += ([] if code == -signal.SIGKILL else [f"exit code {code}: {text[-1000:]}"]) + chain.gone(driver)
    chain.end(chain.driver())


def raylet_and_signals(bench: Bench) -> None:
    """SIGINT, SIGTERM, SIGINT twice, and kill -9 of the raylet, which ends the driver in order."""
    chain = Chain(bench, "signals")
    os.environ["FAULTS_SLOW"] = "1.5"
    chain.signalled("SIGINT", signal.SIGINT)
    chain.signalled("SIGTERM", signal.SIGTERM)
    chain.signalled("SIGINT, twice", signal.SIGINT, signal.SIGINT)
    chain.mark()
    driver = chain.driver()
    chain.goes_on(driver)
    row = chain.fault("kill -9 of the raylet", "ended by itself with the command to resume, resumed")
    os.kill(below(driver, "/raylet/raylet "), signal.SIGKILL)
    code, text = driver.ended(), driver.log.read_text()
    chain.mark()
    row.wrong += [] if code == 2 and "raylet has died" in text and "--resume" in text else [f"{code}: {text[-1000:]}"]
    row.wrong += chain.gone(driver)
    del os.environ["FAULTS_SLOW"]
    chain.end(chain.driver())


def worker_and_two(bench: Bench) -> None:
    """kill -9 of the worker of a trial, and a second driver for the same run."""
    chain = Chain(bench, "worker")
    driver = chain.driver()
    chain.until(driver, lambda: any("Trainable" in name for name in driver.look().values()), "a worker")
    worker = below(driver, "Trainable")
    row = chain.fault("kill -9 of a trial's worker", "its trial went on in a new one")
    os.kill(worker, signal.SIGKILL)
    chain.goes_on(driver)
    driver.process.send_signal(signal.SIGSTOP)  # holds still until the second one has looked
    row, before = chain.fault("a second driver for the same run"), time.monotonic()
    second = chain.driver()
    code, text = second.ended(), second.log.read_text()
    row.note = f"exit code {code} after {time.monotonic() - before:.1f} s, told who holds the run"
    row.wrong += [] if code == 2 and f"process {driver.process.pid} on" in text else [f"{code}: {text[-1000:]}"]
    driver.process.send_signal(signal.SIGCONT)
    chain.end(driver)


def below(driver: Driver, name: str) -> int:
    """The process below a driver that has this in its command line."""
    return next(pid for pid, line in driver.look().items() if name in line)
