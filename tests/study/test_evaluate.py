"""Predictions of unlike models in one table, and configurations of another kind than the study's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from vaetune import config
from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.models.configs import CVAEConfig, VAEConfig
from vaetune.storage import Storage
from vaetune.study import Arm, Study
from vaetune.study.entries import parse
from vaetune.study.evaluate import Measured, columns
from vaetune.tables import Tables
from vaetune.training.seeds import Member, Seeds

PLAIN = Configuration(model=VAEConfig(), training=TrainingConfig(), dataset=DatasetConfig())


def measured(id: str, **own: Any) -> Measured:
    rows = {"evaluation": "mean", "example": np.arange(2, dtype=np.int32), "target": np.zeros(2, np.int16)}
    return Measured(Member(id, "a", PLAIN, Seeds(*[0] * 5)), {}, [rows | own], 1, 1)


def test_what_a_model_does_not_have_is_null(tmp_path: Any) -> None:
    labels = {"predicted": np.ones(2, np.int16), "correct": np.array([True, False])}
    labels |= {"log_loss": np.ones(2, np.float32), "confidence": np.ones(2, np.float32)}
    chunk = [measured("one", **labels), measured("two", elbo=np.full(2, -3.0, np.float32))]
    tables = Tables(Storage(tmp_path))
    tables.append_columns("predictions", columns(chunk))
    found = tables.read("predictions").set_index("replicate_id")
    assert found.loc["one", "elbo"].isna().all()
    assert found.loc["two", ["predicted", "correct", "log_loss", "confidence", "neg_ais"]].isna().all(axis=None)
    assert found.loc["two", "elbo"].tolist() == [-3.0, -3.0]
    assert found.loc["one", "correct"].tolist() == [True, False]


def test_predictions_from_before_a_column_was_thought_of_are_read(tmp_path: Any, monkeypatch: Any) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]

    from vaetune import tables as module

    tables = Tables(Storage(tmp_path))
    now = module.SCHEMAS["predictions"]
    old = pa.schema([field for field in now if field.name not in ("squared_error", "transfer_error", "neg_ais")])
    monkeypatch.setitem(module.SCHEMAS, "predictions", old)
    tables.append_columns("predictions", columns([measured("one", elbo=np.zeros(2, np.float32))]))
    monkeypatch.setitem(module.SCHEMAS, "predictions", now)
    found = tables.read("predictions")
    assert list(found.columns) == now.names
    assert pd.isna(found["squared_error"]).all()


def test_an_arm_may_be_another_kind_of_model_than_the_study() -> None:
    study = Study(name="s", hypothesis="h", arms=(Arm(name="a", summary=""),), model=VAEConfig())
    told = Configuration(model=CVAEConfig(latents=3), training=TrainingConfig(), dataset=DatasetConfig())
    for chosen in (told, PLAIN):
        assert parse(study, json.dumps(config.to_json(chosen))) == chosen
