"""Adam over stacked members against torch's own optimizer, one a member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vaetune.models.base import initialise
from vaetune.networks import MLP
from vaetune.training import members
from vaetune.training.adam import Adam

RATES, DECAYS = [1e-1, 3e-3, 1e-5], [0.0, 0.5, 0.01]


def networks(count: int = 3) -> list[MLP]:
    out = [MLP(7, (5, 3)) for _ in range(count)]
    for seed, network in enumerate(out):
        initialise(network, seed)
    return out


def gradients(network: nn.Module, seed: int, steps: int) -> Iterator[list[Tensor]]:
    """Of all sizes from 1e-6 to 1e3, now and then zero."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        size = 10.0 ** (step % 10 - 6) if step % 11 else 0.0
        yield [size * torch.randn(p.shape, generator=generator) for p in network.parameters()]


def give(stacked: nn.Module, each: Sequence[Sequence[Tensor]]) -> None:
    for parameter, grads in zip(stacked.parameters(), zip(*each, strict=True), strict=True):
        parameter.grad = torch.stack(grads)


def test_every_member_has_the_bits_of_torchs_fused_optimizer() -> None:
    alone = networks()
    stacked = members.stack(alone)
    adam = Adam(stacked, 0.8, 0.99, DECAYS)
    optimizers = [
        torch.optim.AdamW(
            [
                {"params": [p for p in network.parameters() if p.dim() > 1], "weight_decay": decay},
                {"params": [p for p in network.parameters() if p.dim() == 1], "weight_decay": 0.0},
            ],
            betas=(0.8, 0.99),
            fused=True,
        )
        for network, decay in zip(alone, DECAYS, strict=True)
    ]
    streams = [gradients(network, seed, 150) for seed, network in enumerate(alone)]
    for step, each in enumerate(zip(*streams, strict=True)):
        factor = 0.97 ** (step // 20)
        for network, optimizer, grads, rate in zip(alone, optimizers, each, RATES, strict=True):
            for parameter, grad in zip(network.parameters(), grads, strict=True):
                parameter.grad = grad.clone()
            for part in optimizer.param_groups:
                part["lr"] = rate * factor
            optimizer.step()
        give(stacked, each)
        adam.step([rate * factor for rate in RATES])
    for r, network in enumerate(alone):
        for name, parameter in network.named_parameters():
            assert torch.equal(dict(stacked.named_parameters())[name][r], parameter), (r, name)


def test_decay_is_decoupled_from_the_gradient_and_spares_the_biases() -> None:
    alone = networks()
    stacked = members.stack(alone)
    adam = Adam(stacked, 0.9, 0.999, DECAYS)
    for _ in range(10):
        give(stacked, [[torch.zeros_like(p) for p in network.parameters()] for network in alone])
        adam.step(RATES)
    for r, (network, rate, decay) in enumerate(zip(alone, RATES, DECAYS, strict=True)):
        for name, parameter in network.named_parameters():
            after = dict(stacked.named_parameters())[name][r]
            shrunk = parameter * (1 - rate * decay) ** 10 if parameter.dim() > 1 else parameter
            torch.testing.assert_close(after, shrunk, rtol=1e-6, atol=0)
    assert not torch.equal(stacked.layers[0].weight[1], alone[1].layers[0].weight)


def test_gradients_are_dropped_with_the_step() -> None:
    stacked = members.stack(networks())
    give(stacked, [[torch.ones_like(p) for p in network.parameters()] for network in networks()])
    Adam(stacked, 0.9, 0.999, DECAYS).step(RATES)
    assert all(p.grad is None for p in stacked.parameters())


def stepped(stacked: nn.Module, adam: Adam, who: Sequence[int], steps: range) -> None:
    streams = [list(gradients(networks(1)[0], seed, steps.stop))[steps.start :] for seed in who]
    for each in zip(*streams, strict=True):
        give(stacked, each)
        adam.step([RATES[seed] for seed in who])


def assert_same_member(a: nn.Module, r: int, b: nn.Module, s: int) -> None:
    for left, right in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(left[r], right[s])


def test_who_stays_goes_on_as_if_nobody_had_left() -> None:
    whole, rest = (members.stack(networks()) for _ in range(2))
    undisturbed, adam = (Adam(model, 0.9, 0.999, DECAYS) for model in (whole, rest))
    stepped(whole, undisturbed, (0, 1, 2), range(40))
    stepped(rest, adam, (0, 1, 2), range(15))
    members.keep(rest, [2, 0])
    adam.keep(rest, [2, 0])
    stepped(rest, adam, (2, 0), range(15, 40))
    assert_same_member(whole, 2, rest, 0)
    assert_same_member(whole, 0, rest, 1)


def test_moments_and_steps_come_back_from_a_checkpoint() -> None:
    whole = members.stack(networks())
    undisturbed = Adam(whole, 0.9, 0.999, DECAYS)
    stepped(whole, undisturbed, (0, 1, 2), range(15))
    states = [{name: value.clone() for name, value in undisturbed.state(r).items()} for r in range(3)]
    fresh = members.stack([members.unstack(whole, r, networks(1)[0]) for r in (1, 2)])
    adam = Adam(fresh, 0.9, 0.999, DECAYS[1:])
    for r, state in enumerate(states[1:]):
        adam.load(r, state, undisturbed.steps)
    stepped(whole, undisturbed, (0, 1, 2), range(15, 40))
    stepped(fresh, adam, (1, 2), range(15, 40))
    assert_same_member(whole, 1, fresh, 0)
    assert_same_member(whole, 2, fresh, 1)


def test_a_checkpoint_is_no_view_of_what_trains_on() -> None:
    stacked = members.stack(networks())
    adam = Adam(stacked, 0.9, 0.999, DECAYS)
    stepped(stacked, adam, (0, 1, 2), range(1, 3))
    state = adam.state(0)
    before = {name: value.clone() for name, value in state.items()}
    stepped(stacked, adam, (0, 1, 2), range(3, 6))
    assert all(torch.equal(state[name], before[name]) for name in state)
