"""Checkpoints to begin from: copied into the execution once, by the driver."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint
from vaetune.config import TrainingConfig
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Arm, Study, pretrained


def study(uri: str) -> Study:
    arms = (
        Arm(name="plain", summary="anew"),
        Arm(name="warm", summary="from there", overrides={"training.pretrained": uri}),
    )
    return Study(name="warm", hypothesis="It helps.", arms=arms, training=TrainingConfig(epochs=3))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    weights = {"trunk.weight": torch.arange(6.0).reshape(2, 3)}
    checkpoints.save(Storage(tmp_path / "other"), "svae-rep00", Checkpoint({"epoch": 3}, weights, {}))
    return tmp_path / "other" / "checkpoints" / "svae-rep00"


def test_a_checkpoint_is_fetched_once_and_stays(source: Path, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "run")
    pretrained.fetch(study(str(source)), storage, None)
    found = pretrained.weights(storage, str(source))
    assert torch.equal(found["trunk.weight"], torch.arange(6.0).reshape(2, 3))
    shutil.rmtree(source)
    pretrained.fetch(study(str(source)), storage, None)
    assert pretrained.weights(storage, str(source)).keys() == {"trunk.weight"}


def test_nothing_is_fetched_for_models_that_begin_anew(tmp_path: Path) -> None:
    pretrained.fetch(study(""), Storage(tmp_path), None)
    assert not Storage(tmp_path).list()


def test_what_is_no_checkpoint_is_refused(source: Path, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "run")
    with pytest.raises(
        UserError, match=r"is no checkpoint: it has no config\.json and no weights\.safetensors; name a"
    ):
        pretrained.fetch(study(str(tmp_path / "nowhere")), storage, None)
    (source / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not readable"):
        pretrained.fetch(study(str(source)), storage, None)
    with pytest.raises(UserError, match="tracking is off"):
        pretrained.fetch(study("models:/warm-svae@champion"), storage, None)
    assert not storage.list()
