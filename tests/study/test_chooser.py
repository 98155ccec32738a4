"""Who measures, and when: SELECT on the CPU, SEARCH too on a GPU, REPLICATE never."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.study.chooser import Choices, Chooser
from vaetune.study.members import GroupSpec
from vaetune.training import autotune
from vaetune.training.choice import USUAL, Choice
from vaetune.training.group import Split
from vaetune.training.seeds import Member, Seeds

PLAIN = Configuration(
    model=SupervisedVAEConfig(trunk=(4,), latents=2), training=TrainingConfig(), dataset=DatasetConfig()
)
MEMBER = Member("m", "a", PLAIN, Seeds(*[0] * 5))
SPLIT = Split(*[torch.arange(3)] * 3)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The device and the largest stack of everything that is measured; all of it comes to 7 by steps."""
    found: list[tuple[str, int]] = []

    def choose(*arguments: Any) -> Choice:
        found.append(arguments[-2:])
        return Choice(7)

    monkeypatch.setattr(autotune, "choose", choose)
    return found


def chooser(device: str) -> Chooser:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    return Chooser(Resident(images), torch.zeros(3, dtype=torch.int64), 3, device, 10)


@pytest.mark.parametrize(
    ("device", "phase", "expected", "most"),
    [
        ("cpu", "search", USUAL, None),
        ("cpu", "select", Choice(7), 10),
        ("cpu", "replicate", USUAL, None),
        ("cuda:0", "search", Choice(7), 1),
        ("cuda:0", "select", Choice(7), 10),
        ("cuda:0", "replicate", USUAL, None),
    ],
)
def test_who_measures(
    measured: list[tuple[str, int]], device: str, phase: str, expected: Choice, most: int | None
) -> None:
    worker = chooser(device)
    for _ in range(2):
        assert worker.choice(GroupSpec("g", phase, (MEMBER,)), MEMBER, lambda: SPLIT) == expected
    assert measured == ([] if most is None else [(device, most)]), "once"
    assert list(worker.measured.values()) == ([] if most is None else ["7 by steps"])


@pytest.mark.parametrize("phase", ["search", "select", "replicate"])
def test_the_record_has_the_last_word(measured: list[tuple[str, int]], phase: str) -> None:
    fixed = Choice(3, "graph")
    assert chooser("cuda:0").choice(GroupSpec("g", phase, (MEMBER,), choice=fixed), MEMBER, lambda: SPLIT) == fixed
    assert not measured


def test_one_worker_is_asked_for_each_shape_until_the_record_knows() -> None:
    record: dict[str, str] = {}
    choices = Choices(lambda: record, (1, 2, 2), 3)
    faster = replace(PLAIN, training=TrainingConfig(learning_rate=1.0))  # takes as long
    wide = replace(PLAIN, model=SupervisedVAEConfig(trunk=(5,), latents=2))
    assert [choices(c) for c in (PLAIN, PLAIN, faster, wide, wide)] == [None, USUAL, USUAL, None, USUAL]
    record[autotune.shape(PLAIN, (1, 2, 2), 3)] = "7 by graph"
    assert [choices(c) for c in (PLAIN, faster, wide)] == [Choice(7, "graph"), Choice(7, "graph"), USUAL]
