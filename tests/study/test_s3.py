"""Studies whose results lie on a real S3 server: extended there, and begun from weights that lie there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vaetune.storage import Storage
from vaetune.tables import Tables

pytestmark = [pytest.mark.s3, pytest.mark.timeout(600)]
QUIET = ("--tracking-uri", "none")


@pytest.fixture
def bucket(weed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, text in {**weed.KEYS, "AWS_ENDPOINT_URL": weed.endpoint, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, text)
    return f"s3://team/{tmp_path.name}"


def test_a_study_begins_from_a_checkpoint_in_s3_and_goes_on_when_it_is_gone(bucket: str, warm: Any) -> None:
    run = warm.run(f"{bucket}/source", *QUIET)
    sources = warm.weights(f"{bucket}/source", run)
    uri = f"{bucket}/source/warm/{run}/checkpoints/one-rep01"
    begun = warm.begun_from(uri, f"{bucket}/target", *QUIET)
    Storage(f"{bucket}/source").delete("warm")
    warm.ends_with(begun, sources)


def test_a_run_in_s3_is_extended(bucket: str, warm: Any) -> None:
    short = warm.run(bucket, *QUIET)
    extended = warm.run(bucket, *QUIET, "--extend", short, "--set", "replication.extra_epochs=2")
    long = warm.run(f"{bucket}/long", *QUIET, "--set", "replication.extra_epochs=2")
    ours, theirs = warm.weights(bucket, extended), warm.weights(f"{bucket}/long", long)
    for id, weights in ours.items():
        assert all(weights[name].equal(theirs[id][name]) for name in weights)
    ledger = Tables(Storage(f"{bucket}/warm/{extended}")).read("ledger")
    assert ledger[ledger["phase"] == "replicate"]["epochs"].tolist() == [5, 5]
    assert Storage(f"{bucket}/warm/{extended}").exists("report/report.html")
