"""Studies whose results lie on a real S3 server: extended there, and begun from weights that lie there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vaetune import checkpoints
from vaetune.storage import Storage
from vaetune.study import Study
from vaetune.study.load import load

pytestmark = [pytest.mark.s3, pytest.mark.timeout(300)]
IDS = ("one-rep00", "one-rep01")


@pytest.fixture(scope="module")
def bucket(weed: Any) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, text in {**weed.KEYS, "AWS_ENDPOINT_URL": weed.endpoint, "AWS_REGION": "us-east-1"}.items():
            patch.setenv(name, text)
        yield "s3://team/studies"


@pytest.fixture(scope="module")
def study() -> Study:
    return load(str(Path(__file__).with_name("warm.py"))).preset("default")


@pytest.fixture(scope="module")
def short(bucket: str, study: Study, in_process: Any) -> Any:
    return in_process(f"{bucket}/short")(study)


def weights(ex: Any, id: str) -> dict[str, torch.Tensor]:
    return checkpoints.load(ex.storage, id).weights


def test_a_study_begins_from_a_checkpoint_in_s3_and_goes_on_when_it_is_gone(
    bucket: str, study: Study, short: Any, in_process: Any
) -> None:
    elsewhere, source = Storage(f"{bucket}/elsewhere"), weights(short, "one-rep01")
    for name in checkpoints.PORTABLE:
        elsewhere.write(f"it/{name}", short.storage.read(f"checkpoints/one-rep01/{name}"))
    # At that rate float32 weights stay what they were.
    training = replace(study.training, pretrained=f"{bucket}/elsewhere/it", learning_rate=1e-12)
    driver, warm = in_process(f"{bucket}/begun"), replace(study, training=training)
    begun = driver(warm, phases=["search"])
    elsewhere.delete("it")
    driver(warm, resume=begun.run)
    for id in IDS:
        assert all(torch.allclose(weights(begun, id)[name], source[name], atol=1e-6) for name in source)


def test_a_run_in_s3_is_extended(bucket: str, study: Study, short: Any, in_process: Any) -> None:
    longer = replace(study, replication=replace(study.replication, extra_epochs=2))
    extended = in_process(f"{bucket}/short")(longer, extends=short.run)
    long = in_process(f"{bucket}/long")(longer)
    for id in IDS:
        ours, theirs = weights(extended, id), weights(long, id)
        assert all(ours[name].equal(theirs[name]) for name in theirs)
    ledger = extended.tables.read("ledger")
    assert ledger[ledger["phase"] == "replicate"]["epochs"].tolist() == [5, 5]
