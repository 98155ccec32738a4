"""No orphans: a small process that outlives the driver just long enough to end what its Ray left behind.

The kernel kills a local Ray's servers together with the driver, but not the raylet's agents and workers, which find out
by themselves, sometimes after minutes. All of them, and what they start, have their logs in the session's folder open.
This module is also the script of that process: it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE = 3.0
"""Seconds that processes get to end by themselves."""

LIMIT = 60.0
"""Seconds after which what is still there is left there."""


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """Once the block ends, or this process dies in it, whoever else has a file in `folder` open is killed.

    Then the folder is removed. Works by /proc; on systems without it nothing is done.
    """
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    command = [sys.executable, "-I", "-S", __file__, str(folder), str(os.getpid())]
    # In a session of its own, so that a Ctrl-C spares it; its input ends when this process closes it, or dies.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True) as reaper:
        try:
            yield
        finally:
            reaper.communicate()


def _holders(folder: str, but: int) -> list[int]:
    """The processes that have a file below `folder` open."""
    found = []
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            links = (os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
            if pid not in (but, os.getpid()) and any(link.startswith(f"{folder}/") for link in links):
                found.append(pid)
    return found


def _reap(folder: str, driver: int) -> None:
    sys.stdin.read()
    ended = time.monotonic()
    while (holders := _holders(folder, driver)) or os.path.exists(folder):
        if not holders:  # again, where one of them wrote a last file meanwhile
            shutil.rmtree(folder, ignore_errors=True)
        elif time.monotonic() - ended >= GRACE:
            for pid in holders:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() - ended >= LIMIT:
            break
        time.sleep(0.1)


if __name__ == "__main__":
    _reap(sys.argv[1], int(sys.argv[2]))
