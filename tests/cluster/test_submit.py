"""`--submit` and `--address` against a real head of Ray: whose token it takes, what an interruption leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket import BUCKET, KEYS, WORKER, Bucket
from laptop import DASHBOARD, status, study

from vaetune.study.reaper import reaped

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

STUDY = "tests/cluster/small.py"


@pytest.fixture
def head(laptop: Any) -> Iterator[Any]:
    """The laptop with a head on it; its sockets need a short path.

    Who starts tests in the background has interruptions ignored, and what is started here would inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with reaped(folder):  # its agents still write there when its servers have ended
        options = ("--head", "--block", "--port=6379", "--num-cpus=2", f"--temp-dir={folder}", "--disable-usage-stats")
        process = laptop.start("ray", "start", *options, log="head", RAY_worker_niceness="0", **KEYS[WORKER])
        token = laptop.log(".ray/auth_token")
        laptop.wait("head up", lambda: status("/api/version", token) == 200, 90, process)
        yield laptop
        process.terminate()  # which ends its servers too
        process.wait(60)
    signal.signal(signal.SIGINT, before)


def test_a_token_that_is_not_the_cluster_s_is_said_within_seconds(head: Any) -> None:
    for way in (("--address", "127.0.0.1:6379"), ("--submit", DASHBOARD)):
        began = time.monotonic()
        said = head.run(*study(STUDY, *way, "--storage", f"s3://{BUCKET}/runs"), ok=False, RAY_AUTH_TOKEN="f" * 64)
        took = time.monotonic() - began
        head.step(f"another token refused, {way[0]}")
        assert re.fullmatch(r"vaetune: the cluster at \S+ does not know this token[^\n]*\n", said), said
        assert took < 15


def test_an_interruption_detaches_from_the_study_or_stops_it(head: Any, s3: Any, tmp_path: Path) -> None:
    bucket = Bucket(s3.endpoint, "submitted/", tmp_path / "tables")
    to = ("--submit", DASHBOARD, "--storage", f"s3://{BUCKET}/submitted")

    first = head.start(*study(STUDY, *to), log="first", typed=True)
    head.wait("trained", lambda: any("/tables/history/" in key for key in bucket.listed()), 120, first)
    answer(head, first, "first", "d")
    assert first.wait(30) == 0
    (stop,) = re.findall(r"to stop it, resumably: +(ray job stop .*)", head.log("first"))
    job = stop.split()[-1]
    assert "RUNNING" in head.run("ray", "job", "status", "--address", DASHBOARD, job)
    head.step("detached")
    head.run(*stop.split())
    head.step("stopped, as was said")
    (run,) = re.findall(
        r"Go on with:\s+python -m vaetune.study .*--resume (\S+)",
        head.run("ray", "job", "logs", "--address", DASHBOARD, job),
    )

    second = head.start(*study(STUDY, *to, "--resume", run), log="second", typed=True)
    head.wait("goes on", lambda: f"run {run}" in head.log("second"), 120, second)
    answer(head, second, "second", "s")
    assert second.wait(90) != 0
    head.step("stopped")
    assert f"--resume {run}" in head.log("second")


def answer(laptop: Any, process: subprocess.Popen[str], log: str, letter: str) -> None:
    """Ctrl-C, and the answer to what is asked then."""
    process.send_signal(signal.SIGINT)
    laptop.wait(f"asked, {letter}", lambda: "[s]top it" in laptop.log(log), 30, process)
    assert process.stdin
    process.stdin.write(f"{letter}\n")
    process.stdin.flush()
