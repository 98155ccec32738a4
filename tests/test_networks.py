"""Layers on trailing dimensions: one model and R stacked members alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from vaetune.networks import MLP, Dropout, Linear
from vaetune.noise import Noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(inputs: int, outputs: int, seed: int = 0) -> Linear:
    layer = Linear(inputs, outputs)
    layer.initialise(generator(seed))
    return layer


def stacked(layers: list[Linear]) -> Linear:
    layer = Linear(*layers[0].weight.shape)
    layer.weight = nn.Parameter(torch.stack([one.weight.detach() for one in layers]))
    layer.bias = nn.Parameter(torch.stack([one.bias.detach() for one in layers]))
    return layer


def test_linear_is_torchs() -> None:
    layer, x = linear(7, 5), torch.randn(4, 7, generator=generator())
    torch.testing.assert_close(layer(x), functional.linear(x, layer.weight.T, layer.bias))


# The first two are above the size from which a matrix library is asked, the others are below it or have vectors.
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"), [(33, 20, 17), (16, 17, 16), (16, 16, 16), (3, 5, 2), (1, 99, 99), (99, 99, 1)]
)
def test_members_of_a_stack_compute_what_they_compute_alone(batch: int, inputs: int, outputs: int) -> None:
    layers = [linear(inputs, outputs, seed) for seed in range(3)]
    together = stacked(layers)
    x = torch.randn(3, batch, inputs, generator=generator(9), requires_grad=True)
    weights = torch.randn(3, batch, outputs, generator=generator(8))
    out = together(x)
    gradients = torch.autograd.grad((out * weights).sum(), [x, together.weight, together.bias])
    for r, layer in enumerate(layers):
        alone = x.detach()[r].requires_grad_()
        expected = layer(alone)
        torch.testing.assert_close(out[r], expected, rtol=1e-5, atol=1e-5)
        singles = torch.autograd.grad((expected * weights[r]).sum(), [alone, layer.weight, layer.bias])
        for gradient, single in zip(gradients, singles, strict=True):
            torch.testing.assert_close(gradient[r], single, rtol=1e-5, atol=2e-5)


def test_linear_begins_as_torchs_does() -> None:
    layer = linear(64, 2000)
    for parameter in (layer.weight, layer.bias):
        assert parameter.abs().max() <= 1 / 8
        assert parameter.detach().std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)
    torch.manual_seed(0)
    theirs = nn.Linear(64, 2000)
    assert theirs.weight.abs().max() <= 1 / 8
    assert theirs.weight.detach().std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)


def test_initial_values_are_a_function_of_the_seed() -> None:
    assert torch.equal(linear(3, 4, 1).weight, linear(3, 4, 1).weight)
    assert not torch.equal(linear(3, 4, 1).weight, linear(3, 4, 2).weight)


def test_dropout_is_off_without_noise() -> None:
    x = torch.randn(3, 4, generator=generator())
    assert Dropout(0.5)(x, None) is x


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    out = Dropout(0.3)(torch.ones(200, 500), Noise(generator()))
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (out == 0).double().mean().item() == pytest.approx(0.3, abs=0.005)
    assert out.mean().item() == pytest.approx(1, abs=0.01)


def test_every_member_has_its_own_rate() -> None:
    dropout = Dropout(0.0)
    dropout.rate = torch.tensor([0.1, 0.8])
    out = dropout(torch.ones(2, 100, 400), Noise([generator(1), generator(2)]))
    assert (out == 0).double().mean((-2, -1)).tolist() == pytest.approx([0.1, 0.8], abs=0.01)
    for r, rate in enumerate((0.1, 0.8)):
        alone = Dropout(rate)(torch.ones(100, 400), Noise(generator(r + 1)))
        assert torch.equal(out[r], alone)


@given(st.lists(st.integers(1, 6), max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_an_mlp_is_its_layers_with_relu(widths: list[int], inputs: int, batch: int) -> None:
    network = MLP(inputs, widths)
    for seed, layer in enumerate(network.layers):
        layer.initialise(generator(seed))
    x = torch.randn(batch, inputs, generator=generator(5))
    expected: Tensor = x
    for layer in network.layers:
        expected = (expected @ layer.weight + layer.bias).clamp(min=0)
    out = network(x, Noise(generator()))
    assert network.outputs == out.shape[-1] == [inputs, *widths][-1]
    torch.testing.assert_close(out, expected)


def test_dropout_follows_every_hidden_layer() -> None:
    network = MLP(4, (300, 300), dropout=0.5)
    for layer in network.layers:
        layer.weight.data.fill_(1.0)
        layer.bias.data.fill_(1.0)
    x = torch.ones(2, 4)
    assert (network(x, None) > 0).all()
    noisy = network(x, Noise(generator()))
    assert (noisy == 0).double().mean().item() == pytest.approx(0.5, abs=0.1)
    assert noisy[noisy > 0].unique().numel() == 2  # one sum over the first layer's survivors for each example
