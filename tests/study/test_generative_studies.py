"""The smoke preset of every study of a decoder, from nothing to a report that speaks of its endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
STUDIES = {
    "decoder_likelihood": "test/squared_error",
    "beta_disentanglement": "test/mig",
    "adversarial_posterior": "test/neg_ais",
    "conjoint_transfer": "test/transfer_error",
    "branched_classifier": "test/error",
    "svae_faces": "test/error",
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_smoke_preset_ends_in_a_report(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaetune.study", name, "--preset", "smoke", "--tracking-uri", "none"]
    command += ["--storage", str(tmp_path / "runs"), "--data-root", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=550, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (tmp_path / "runs" / name).iterdir()
    study = json.loads((run / "study.json").read_text())
    assert study["endpoint"]["metric"] == STUDIES[name]
    text = (run / "report" / "report.md").read_text()
    for comparison in study["comparisons"]:
        assert f"- **{comparison['name']}: " in text
    assert f"### Differences in {study['endpoint']['name']}, with 95 % intervals" in text
    assert "failed" not in text.partition("## Flags")[2].partition("## The arms")[0]
    arms = pd.read_csv(run / "report" / "arms.csv")
    assert list(arms["arm"]) == [arm["name"] for arm in study["arms"]]
    assert arms[STUDIES[name]].notna().all()
