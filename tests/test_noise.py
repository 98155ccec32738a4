"""Every member reads its own stream, in the order of the forward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vaetune.noise import Noise


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def draw(noise: Noise) -> list[Tensor]:
    return [noise.normal((5, 3)), noise.uniform((7,)), noise.normal((40, 2))]


def test_a_member_of_a_stack_draws_what_it_draws_alone() -> None:
    stacked = draw(Noise(generators(3, 1, 2)))
    assert [d.shape for d in stacked] == [(3, 5, 3), (3, 7), (3, 40, 2)]
    for r, seed in enumerate((3, 1, 2)):
        for alone in (draw(Noise(generators(seed)[0])), [d[0] for d in draw(Noise(generators(seed)))]):
            assert all(torch.equal(d[r], a) for d, a in zip(stacked, alone, strict=True))


def test_draws_follow_each_other() -> None:
    noise = Noise(generators(0)[0])
    assert not torch.equal(noise.normal((4,)), noise.normal((4,)))


@pytest.mark.parametrize("count", [1, 2])
def test_the_laws_are_the_standard_ones(count: int) -> None:
    seeds = generators(*range(count))
    noise = Noise(seeds if count > 1 else seeds[0])
    normal, uniform = noise.normal((50_000,)), noise.uniform((50_000,))
    assert abs(normal.mean()) < 0.02
    assert abs(normal.var() - 1) < 0.02
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(uniform.var() - 1 / 12) < 0.005
