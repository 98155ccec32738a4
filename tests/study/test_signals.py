"""Signals to a real process: noted, then at once, and in any case."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, time
    from vaetune.study import runner

    runner.AT_ONCE = 0.2
    signals = runner._Signals("Go on with: --resume RUN")
    with signals:
        try:
            with signals.soft() as interrupted:
                assert not interrupted()
                os.kill(os.getpid(), signal.{first})
                print("noted" if interrupted() else "lost", flush=True)
                if {again}:
                    try:
                        os.kill(os.getpid(), signal.SIGINT)
                    except KeyboardInterrupt:  # something in between swallows it
                        print("at once", flush=True)
                    time.sleep(1000)
        except KeyboardInterrupt:
            print("put away", flush=True)
            sys.exit(128 + signals.received)
    """
)


@pytest.mark.parametrize(
    ("first", "again", "code", "out", "err"),
    [
        ("SIGINT", False, 130, "noted\nput away\n", ""),
        ("SIGTERM", False, 143, "noted\nput away\n", ""),
        ("SIGTERM", True, 130, "noted\nat once\n", "Go on with: --resume RUN\n"),
    ],
)
def test_signals(first: str, again: bool, code: int, out: str, err: str) -> None:
    script = SCRIPT.format(first=first, again=again)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)
