"""Studies whose results lie on a real S3 server: extended there, and begun from weights that lie there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from vaetune import checkpoints
from vaetune.storage import Storage
from vaetune.tables import Tables

pytestmark = [pytest.mark.s3, pytest.mark.timeout(900)]
QUIET = ("--tracking-uri", "none")


@pytest.fixture(scope="module")
def bucket(weed: Any) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, text in {**weed.KEYS, "AWS_ENDPOINT_URL": weed.endpoint, "AWS_REGION": "us-east-1"}.items():
            patch.setenv(name, text)
        yield "s3://team/studies"


@dataclass(frozen=True)
class Finished:
    root: str
    run: str
    weights: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def short(bucket: str, warm: Any) -> Finished:
    run = warm.run(f"{bucket}/short", *QUIET)
    return Finished(f"{bucket}/short", run, warm.weights(f"{bucket}/short", run))


def test_a_study_begins_from_a_checkpoint_in_s3_and_goes_on_when_it_is_gone(
    bucket: str, short: Finished, warm: Any
) -> None:
    source, elsewhere = Storage(f"{short.root}/warm/{short.run}/checkpoints/one-rep01"), Storage(f"{bucket}/elsewhere")
    for name in checkpoints.PORTABLE:
        elsewhere.write(f"it/{name}", source.read(name))
    begun = warm.begun_from(f"{bucket}/elsewhere/it", f"{bucket}/begun", *QUIET)
    elsewhere.delete("it")
    warm.ends_with(begun, short.weights)


def test_a_run_in_s3_is_extended(bucket: str, short: Finished, warm: Any) -> None:
    extended = warm.run(short.root, *QUIET, "--extend", short.run, "--set", "replication.extra_epochs=2")
    long = warm.run(f"{bucket}/long", *QUIET, "--set", "replication.extra_epochs=2")
    ours, theirs = warm.weights(short.root, extended), warm.weights(f"{bucket}/long", long)
    for id, weights in ours.items():
        assert all(weights[name].equal(theirs[id][name]) for name in weights)
    ledger = Tables(Storage(f"{short.root}/warm/{extended}")).read("ledger")
    assert ledger[ledger["phase"] == "replicate"]["epochs"].tolist() == [5, 5]
    assert Storage(f"{short.root}/warm/{extended}").exists("report/report.html")
