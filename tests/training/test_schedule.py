"""Learning rates follow their three schedules, a member at a time, and go on exactly after a resume."""

from __future__ import annotations

import json

import pytest
import torch

from vaetune.config import TrainingConfig
from vaetune.training.schedule import Schedule


def test_steps_and_cosine_are_those_of_torch() -> None:
    for config, make in (
        (
            TrainingConfig(learning_rate_decay=0.5, decay_every=3),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5),
        ),
        (
            TrainingConfig(schedule="cosine", epochs=8),
            lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8),
        ),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs, ours = make(optimizer), Schedule(config, 1)
        for epoch in range(8):
            assert ours.factors(epoch) == [pytest.approx(optimizer.param_groups[0]["lr"])]
            optimizer.step()
            theirs.step()


def test_a_plateau_lowers_the_rate_of_its_own_member_only() -> None:
    schedule = Schedule(TrainingConfig(schedule="plateau", learning_rate_decay=0.1, decay_every=2), 2)
    for score in (3.0, 2.0, 2.0, 2.5, 1.0, 1.0):
        schedule.see(0, score)
        schedule.see(1, -score if score > 2 else 0.5)
    assert schedule.factors(6) == pytest.approx([0.1, 0.01])
    schedule.keep([1])
    assert schedule.factors(6) == pytest.approx([0.01])


def test_a_schedule_goes_on_from_its_state_as_json() -> None:
    config = TrainingConfig(schedule="plateau", learning_rate_decay=0.5, decay_every=2)
    scores = [1.0, 1.0, 1.0, 1.0, 1.0]
    for cut in range(len(scores)):
        whole, first, second = (Schedule(config, 1) for _ in range(3))
        for score in scores:
            whole.see(0, score)
        for score in scores[:cut]:
            first.see(0, score)
        second.load(0, json.loads(json.dumps(first.state(0), allow_nan=False)))
        for score in scores[cut:]:
            second.see(0, score)
        assert second.factors(5) == whole.factors(5) == [0.25]
