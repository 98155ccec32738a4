"""Work in another process: what comes back of it, and that it ends with this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaetune.errors import UserError
from vaetune.report.render import render
from vaetune.storage import Storage
from vaetune.study.aside import Aside


def test_the_work_is_done_once_the_wait_is_over(tmp_path: Path) -> None:
    aside = Aside(os.mkdir, tmp_path / "made")
    aside.wait()
    assert (tmp_path / "made").is_dir()
    aside.result()
    aside.result()


def test_what_the_user_can_mend_is_raised_here(tmp_path: Path) -> None:
    aside = Aside(render, Storage(tmp_path))
    aside.wait()
    for _ in range(2):
        with pytest.raises(UserError, match=r"holds no study\.json"):
            aside.result()


def test_other_errors_come_with_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*FileNotFoundError"):
        Aside(os.mkdir, tmp_path / "not" / "there").result()


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        Aside(os._exit, 3).result()


_DRIVER = """
import signal
import time
from vaetune.study.aside import Aside
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which what runs in the background may have been denied
    aside = Aside(time.sleep, 600)
    print(aside._process.pid, flush=True)
    aside.result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_whoever_waits(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "driver.py"
    script.write_text(_DRIVER)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as driver:
        assert driver.stdout is not None and driver.stderr is not None
        other = int(driver.stdout.readline())
        if number == signal.SIGINT:
            os.killpg(driver.pid, number)  # as a terminal does
        else:
            driver.send_signal(number)
        try:
            assert driver.wait(30) != 0
        finally:
            driver.kill()
        told = driver.stderr.read()
    assert told.count("Traceback") == (number == signal.SIGINT), told  # the driver's own, which it catches in earnest
    deadline = time.monotonic() + 30
    while Path(f"/proc/{other}").exists() and "Z" not in _state(other):
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has just gone
        return "Z"
