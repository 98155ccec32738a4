from __future__ import annotations

import subprocess
import sys
import threading

from vaetune.study.watchdog import EXIT, Watchdog

HANG = """
import time
from vaetune.study.watchdog import Watchdog
dog = Watchdog(0.2)
dog.beat()
time.sleep(60)
"""


def test_a_process_that_hangs_is_ended_with_its_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", HANG], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == EXIT
    assert "<module>" in done.stderr


def test_it_bites_once_after_the_limit_and_again_after_the_next_beat() -> None:
    bitten = threading.Semaphore(0)
    dog = Watchdog(0.01, bitten.release)
    for _ in range(2):
        dog.beat()
        assert bitten.acquire(timeout=10)


def test_at_rest_it_does_nothing() -> None:
    bitten = threading.Semaphore(0)
    dog = Watchdog(0.01, bitten.release)
    dog.beat()
    dog.rest()
    bitten.acquire(timeout=0.2)  # a bite between beat and rest is allowed, one after rest is not
    assert not bitten.acquire(timeout=0.2)
