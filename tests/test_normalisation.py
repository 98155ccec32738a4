"""Batch normalisation, live and frozen, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vaetune.convolutions import ConvolutionStack
from vaetune.models.base import initialise
from vaetune.models.configs import Convolutions
from vaetune.normalisation import BatchNorm, FrozenNorm, learning, norm
from vaetune.training.members import stack

CHANNELS = 3


def images(*lead: int, seed: int = 0) -> Tensor:
    return 2 + 3 * torch.randn(*lead, 6, CHANNELS, 4, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kept", [0.9, 0.1])
def test_a_live_layer_is_torchs(kept: float) -> None:
    ours, theirs = BatchNorm(CHANNELS, kept), nn.BatchNorm2d(CHANNELS, momentum=1 - kept)
    with learning(ours):
        for seed in range(3):
            torch.testing.assert_close(ours(images(seed=seed)), theirs(images(seed=seed)))
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    theirs.eval()
    torch.testing.assert_close(ours(images(seed=9)), theirs(images(seed=9)))


def test_only_an_epoch_of_training_moves_the_averages() -> None:
    layer = BatchNorm(CHANNELS, 0.9)
    layer(images())
    with learning(layer), torch.no_grad():  # a frozen part
        layer(images())
    assert layer.mean.tolist() == [0.0] * CHANNELS
    with learning(layer):
        layer(images())
    assert layer.mean.abs().min() > 0.1
    assert not layer.learning


def test_a_frozen_layer_is_one_that_never_saw_a_batch() -> None:
    ours, theirs = FrozenNorm(CHANNELS), nn.BatchNorm2d(CHANNELS).eval()
    torch.testing.assert_close(ours(images()), theirs(images()))
    assert [name for name, _ in ours.named_parameters()] == ["weight", "bias"]
    assert norm("none", CHANNELS, 0.9) is None


@pytest.mark.parametrize("kind", ["live", "frozen"])
@pytest.mark.parametrize("members", [1, 3])
def test_a_stacked_member_has_the_bits_of_the_lone_stack(kind: str, members: int) -> None:
    config = Convolutions(
        channels=(8, 4), kernels=(3, 3), strides=(1, 2), paddings=(1, 1), normalisation=kind, statistics_kept=0.1
    )
    lone = [ConvolutionStack((CHANNELS, 8, 8), config) for _ in range(members)]
    for seed, one in enumerate(lone):
        initialise(one, seed)
    together, last = stack(lone), stack(lone[-1:])
    x = torch.rand(members, 7, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    with learning(together), learning(last):
        a, b = together(x)[-1:], last(x[-1:])
    assert torch.equal(a, b)
    for (name, tensor), (_, other) in zip(together.state_dict().items(), last.state_dict().items(), strict=True):
        assert torch.equal(tensor[-1:], other), name
