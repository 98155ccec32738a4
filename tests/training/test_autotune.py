"""How members are best trained: measured on real groups, and chosen from timings that are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from vaetune.datasets.batches import Resident
from vaetune.training import autotune
from vaetune.training.choice import USUAL, Choice


def chosen(pool: Any, most: int, **settings: Any) -> Choice:
    world = pool(n=96, base=settings)
    member = world.member(0)
    pixels = Resident(world.images)
    return autotune.choose(member, world.split(member), pixels, world.labels, world.classes, "cpu", most)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 1.0, 5: 0.9, 10: 0.85}, 5),  # nothing is a tenth faster
        ({1: 0.5, 5: 0.9, 10: 0.9}, 1),
        ({1: 3.0, 5: 0.9, 10: 0.6}, 10),
        ({1: 3.0, 5: 0.9, 10: None}, 5),  # too large for the memory
        ({1: 3.0, 5: None, 10: None}, 1),
        ({1: None, 5: None, 10: None}, 5),
    ],
)
def test_another_size_has_to_be_a_tenth_faster(
    pool: Any, monkeypatch: pytest.MonkeyPatch, seconds: Mapping[int, float | None], expected: int
) -> None:
    monkeypatch.setattr(autotune, "_seconds", lambda group, choice: seconds[choice.members])
    assert chosen(pool, 10) == Choice(expected)


def test_no_stack_is_larger_than_it_may_be(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(autotune, "_seconds", lambda group, choice: float(seen.append(choice.members) or 1.0))
    assert chosen(pool, 3).members == 3  # the nearest to the usual
    assert seen == [1, 3]


def test_what_is_measured_is_a_few_steps_of_real_groups(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def timed(group: Any) -> float:
        made.append((len(group.members), group.train.shape[1]))
        group.train_epoch()
        return 1.0

    monkeypatch.setattr(autotune, "_timed", timed)
    chosen(pool, 10, training__batch_size=4)
    assert sorted(set(made)) == [(1, 80), (5, 16), (10, 8)]  # 20, 4 and 2 batches


def test_measuring_leaves_no_trace(pool: Any) -> None:
    before = torch.get_rng_state()
    assert chosen(pool, 10).route == "steps"
    assert torch.equal(before, torch.get_rng_state())


def test_what_does_not_fit_is_passed_over_and_other_errors_are_not(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(group: Any) -> float:
        if len(group.members) > 1:
            raise MemoryError
        return 1.0

    monkeypatch.setattr(autotune, "_timed", full)
    assert chosen(pool, 10) == Choice(1)

    def broken(group: Any) -> float:
        raise ArithmeticError("not a question of size")

    monkeypatch.setattr(autotune, "_timed", broken)
    with pytest.raises(ArithmeticError):
        chosen(pool, 10)


def test_the_name_of_a_shape_is_that_of_its_layers_and_batches(pool: Any) -> None:
    world = pool()

    def name(**settings: Any) -> str:
        return autotune.shape(world.member(0, **settings).configuration, world.shape, world.classes)

    plain = name(model__bottleneck="deterministic")
    assert name(model__bottleneck="compression", model__beta=0.5, training__epochs=9) == plain
    others = [name(), name(model__trunk=(9,)), name(training__batch_size=4), name(training__ema=0.9)]
    assert len({plain, *others}) == 5


def test_a_choice_is_its_text() -> None:
    for choice in (USUAL, Choice(16, "graph")):
        assert Choice.parse(str(choice)) == choice
    assert Choice.parse("5 by steps or 10 by steps") == USUAL
