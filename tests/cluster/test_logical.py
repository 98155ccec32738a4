"""Counted GPUs on a real Ray of two machines in one: what trials are given, and what a machine's end costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from vaetune.study.cluster import QUIET
from vaetune.study.devices import LOGICAL
from vaetune.training.environment import ENVIRONMENT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FIRST, SECOND = "vaetune-device_0", "vaetune-device_1"
"""The threads that train a trial's members on its first and its second GPU."""


def test_trials_get_the_gpus_they_ask_for_and_outlive_a_machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("logical.py")), str(tmp_path)],
        env={**kept, **QUIET, **ENVIRONMENT, "RAY_AUTH_TOKEN": "0" * 64, LOGICAL: "1", "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = json.loads(done.stdout.splitlines()[-1])
    with capfd.disabled():
        print(f"\n2 × 4 counted GPUs, seconds: {out['steps']}")
    given = {
        arm: Counter((t["node"], gpu) for t in told if t["thread"] != SECOND for gpu in t["gpus"].split(","))
        for arm, told in out["told"].items()
    }
    assert set(given["whole"].values()) == {1}
    assert len(given["whole"]) == 8, "every GPU of both machines, each to one trial"
    assert set(given["half"].values()) == {2}
    assert len(given["half"]) == 2, "two trials share a GPU"
    assert set(given["double"].values()) == {1}
    assert len(given["double"]) == 4, "two GPUs a trial, none of them twice"
    assert Counter(t["thread"] for t in out["told"]["double"]) == {FIRST: 2, SECOND: 2}, "a member to each of its GPUs"
    assert set(out["outcomes"].values()) == {"finished"}
    # The long one began on a machine that went, and ended on the other one from its checkpoint.
    assert "machine gone" in out["steps"]
    first, second = out["nodes"]
    assert first != second
    assert out["partials"] == sorted(out["partials"]), "it went on where it was written down"
    assert sorted(set(out["epochs"])) == list(range(1, 601))
    local, large = out["refused"]
    assert "--storage s3://BUCKET/runs" in local
    assert "a trial asks for 1 CPU, 5 GPU, and no machine has that" in large
    assert all(float(text.partition(" ")[0]) < 30 for text in out["refused"])
