"""Real processes: a driver that dies or leaves its block, and what had files of its session's folder open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")

DRIVER = textwrap.dedent(
    """
    import subprocess, sys, time
    from pathlib import Path
    from vaetune.study import reaper

    reaper.GRACE = 0.3
    folder = Path(sys.argv[1])
    sleep = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(1000)"]
    def start(log):
        with open(log, "w") as out:
            return subprocess.Popen(sleep, stdout=out, start_new_session=True).pid
    with open(folder / "own", "w"), reaper.reaped(folder):
        pids = start(folder / "log"), start(folder.parent / "elsewhere")
        print(*pids, flush=True)
        sys.stdin.readline()
    print("left", flush=True)
    """
)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(state: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not state():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["killed", "left"])
def test_who_has_a_file_of_the_folder_open_does_not_outlive_the_driver(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    worker, stranger = map(int, driver.stdout.readline().split())
    try:
        wait(lambda: (folder / "log").read_text() == "up\n")
        assert alive(worker)
        if how == "killed":
            driver.kill()
            driver.communicate()
            wait(lambda: not folder.exists())
        else:
            out, _ = driver.communicate("\n")
            assert out == "left\n"
            assert not folder.exists()
        wait(lambda: not alive(worker))
        assert alive(stranger)
    finally:
        for pid in filter(alive, (worker, stranger)):
            os.kill(pid, signal.SIGKILL)
