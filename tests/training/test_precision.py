"""Products of fewer bits: in training alone, where they are asked for, and never in scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vaetune.models.supervised_vae import SupervisedVAE
from vaetune.training import routes


def seen(pool: Any, monkeypatch: pytest.MonkeyPatch, precision: str) -> dict[str, set[str]]:
    """How products were set, in training and in scoring, over an epoch."""
    found: dict[str, set[str]] = {"train": set(), "score": set()}
    terms, predict = SupervisedVAE.terms, SupervisedVAE.predict

    def training(self: SupervisedVAE, *arguments: Any) -> Any:
        found["train"].add(torch.get_float32_matmul_precision())
        return terms(self, *arguments)

    def scoring(self: SupervisedVAE, *arguments: Any) -> Any:
        found["score"].add(torch.get_float32_matmul_precision())
        return predict(self, *arguments)

    monkeypatch.setattr(SupervisedVAE, "terms", training)
    monkeypatch.setattr(SupervisedVAE, "predict", scoring)
    world = pool()
    world.group(world.member(0, training__precision=precision)).run_epoch()
    return found


@pytest.mark.parametrize(("precision", "expected"), [("tf32", "high"), ("bf16", "medium")])
def test_training_multiplies_as_asked_and_scores_as_always(
    pool: Any, monkeypatch: pytest.MonkeyPatch, precision: str, expected: str
) -> None:
    usual = torch.get_float32_matmul_precision()
    assert seen(pool, monkeypatch, precision) == {"train": {expected}, "score": {usual}}
    assert torch.get_float32_matmul_precision() == usual


def test_float32_is_what_the_process_has_proven(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = routes.configure()["matmul"]
    assert seen(pool, monkeypatch, "float32") == {"train": {usual}, "score": {usual}}


def test_an_error_within_leaves_the_products_as_they_were() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with pytest.raises(ArithmeticError), routes.products("bf16"):
        raise ArithmeticError
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
