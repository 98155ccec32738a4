"""Whole studies that go on from what another run has trained: from a published model's weights, or as its extension."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vaetune.storage import Storage
from vaetune.tables import Tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_study_begins_from_a_model_in_mlflow_and_goes_on_when_it_is_gone(warm: Any, tmp_path: Path) -> None:
    source = warm.finished(tmp_path / "source")
    database = f"sqlite:///{tmp_path / 'source' / 'mlflow.db'}"
    begun = warm.begun_from("models:/warm-one@champion", tmp_path / "target", "--tracking-uri", database)
    shutil.rmtree(tmp_path / "source")
    warm.ends_with(begun, source)


def test_an_extension_that_is_stopped_and_resumed_is_the_longer_run(
    warm: Any, study: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Three epochs and 800 more, against 803 from the start."""
    extra = ("--tracking-uri", "none", "--set", "replication.extra_epochs=800")
    short = warm.run(tmp_path / "runs", "--tracking-uri", "none")
    arguments = [str(warm.STUDY), "--storage", str(tmp_path / "runs"), *extra, "--extend", short]
    plan = study(*arguments, "--plan")
    out, _ = plan.communicate(timeout=120)
    assert plan.returncode == 0, out
    assert "one\t0\t0\t0\t0\t2\t1600" in out, "nothing but the replicates' 800 epochs each"
    driver = study(*arguments)
    deadline = time.monotonic() + 120
    while all(short in str(part) for part in (tmp_path / "runs").glob("warm/*/tables/history/part-000001-*")):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, out
    (line,) = re.findall(r"^  python -m vaetune.study (.*)$", out, re.MULTILINE)
    assert "--extend" not in line
    again = study(*shlex.split(line))
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0, out
    (extended,) = set(Storage(tmp_path / "runs").list("warm")) - {short}
    long = warm.run(tmp_path / "long", *extra)
    one, other = (Storage(tmp_path / root / "warm" / run) for root, run in (("runs", extended), ("long", long)))
    for table, key in (("replicates", ["replicate_id"]), ("history", ["member_id", "epoch", "metric"])):
        left, right = (
            Tables(storage)
            .read(table)
            .drop(columns=["seconds", "time"], errors="ignore")
            .sort_values(key, ignore_index=True)
            for storage in (one, other)
        )
        pd.testing.assert_frame_equal(left, right)
    report = one.read("report/report.html").decode()
    assert "at full length, 800 epochs beyond the length that was selected" in report
    assert f"They go on from those of run {short}, which had been measured on them." in report
    assert "They go on from" not in other.read("report/report.html").decode()
