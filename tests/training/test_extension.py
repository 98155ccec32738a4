"""Who has ended at its whole length is trained on, to the numbers of a run that had the greater one from the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vaetune.models.configs import AVBConfig
from vaetune.training.group import Group

SHORT, LONG = 4, 9
AVB = AVBConfig(hidden=(8,), latents=2, noise=3, posterior=(8,), discriminator=(8,), discriminator_steps=2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__ema": 0.9},
        {"training__patience": 100, "training__ema": 0.9},
        {"training__penalty_warmup": 6, "training__learning_rate_decay": 0.7, "training__weight_decay": 0.1},
        {"training__schedule": "plateau", "training__learning_rate_decay": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("adversarial", [False, True])
def test_what_has_ended_is_trained_on_bit_for_bit(
    pool: Any, finish: Callable[[Group], Any], changes: dict[str, Any], adversarial: bool
) -> None:
    world = pool(base={"training__learning_rate": 0.03, **changes})

    def member(number: int, epochs: int) -> Any:
        found = world.member(number, training__epochs=epochs)
        return replace(found, configuration=replace(found.configuration, model=AVB)) if adversarial else found

    whole = finish(world.group(*(member(i, LONG) for i in range(3))))
    ended = world.group(*(member(i, SHORT) for i in range(3)))
    finish(ended)
    extended = world.group(member(2, LONG), member(0, LONG))
    extended.load([ended.states["m2"], ended.states["m0"]])
    assert extended.epoch == SHORT
    again = finish(extended)
    for id in ("m0", "m2"):
        assert len(again[id].rows) == LONG - SHORT
        assert repr(again[id].rows) == repr(whole[id].rows[SHORT:])
        assert again[id].weights.keys() == whole[id].weights.keys()
        assert all(torch.equal(again[id].weights[name], value) for name, value in whole[id].weights.items())


def test_who_stopped_early_has_ended_for_good(pool: Any, finish: Callable[[Group], Any]) -> None:
    world = pool(base={"training__epochs": 60, "training__patience": 1, "training__learning_rate": 0.3})
    group = world.group(world.member(0))
    rows = finish(group)["m0"].rows
    assert rows[-1].reason.startswith("no better")
    assert len(rows) < 60
    assert group.ended.keys() == {"m0"}
    assert not group.states
