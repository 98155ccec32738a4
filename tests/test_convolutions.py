"""Convolutional stacks: inferred shapes, mirrored decoders, errors that name the layer, and members that do not mix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from vaetune.convolutions import Convolution, ConvolutionStack, MirroredStack, inferred
from vaetune.errors import UserError
from vaetune.models.base import initialise
from vaetune.models.configs import NETWORKS, Convolutions
from vaetune.training.members import stack

ODD = Convolutions(channels=(3, 4, 5), kernels=(3, 4, 2), strides=(2, 3, 1), paddings=(0, 1, 0))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_presets_halve_and_mirror(name: str, channels: int) -> None:
    side = int(name.removeprefix("conv"))
    shapes = inferred((channels, side, side), NETWORKS[name])
    assert shapes[-1][1:] == ((7, 7) if side == 28 else (4, 4))
    x = torch.zeros(2, channels, side, side)
    down = ConvolutionStack((channels, side, side), NETWORKS[name])
    up = MirroredStack((channels, side, side), NETWORKS[name], 2 * channels)
    assert up(down(x)).shape == (2, 2 * channels, side, side)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 29, 17), (2, 13, 32)])
def test_inferred_shapes_are_those_of_torch_and_the_mirror_restores_any(shape: tuple[int, ...]) -> None:
    x = torch.zeros(2, *shape)
    for (outputs, height, width), channels, kernel, stride, padding in zip(
        inferred(shape, ODD)[1:], ODD.channels, ODD.kernels, ODD.strides, ODD.paddings, strict=True
    ):
        x = nn.Conv2d(x.shape[1], channels, kernel, stride, padding)(x)
        assert x.shape[1:] == (outputs, height, width)
    assert MirroredStack(shape, ODD, 7)(torch.zeros(2, *inferred(shape, ODD)[-1])).shape == (2, 7, *shape[1:])


def test_a_layer_that_does_not_fit_is_named_with_its_shapes() -> None:
    config = Convolutions(channels=(8, 8), kernels=(5, 7), strides=(4, 1), paddings=(0, 0))
    with pytest.raises(UserError, match=r"layer 2 \(kernel 7.*its input 8x2x2 is too small.*1x12x12 → 8x2x2"):
        inferred((1, 12, 12), config)
    with pytest.raises(UserError, match=r"one number a layer.*2 channels, 1 kernels"):
        inferred((1, 12, 12), replace(config, kernels=(5,)))
    with pytest.raises(UserError, match=r"layer 1 .*padding below the kernel"):
        inferred((1, 12, 12), replace(config, paddings=(5, 0)))


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_stacked_member_has_the_bits_of_the_lone_model(members: int, way: str) -> None:
    shape, models = (2, 12, 12), list[nn.Module]()
    for seed in range(members):
        models.append(ConvolutionStack(shape, ODD) if way == "down" else MirroredStack(shape, ODD, 2))
        initialise(models[-1], seed)
    inputs = shape if way == "down" else inferred(shape, ODD)[-1]
    x = torch.rand(members, 5, *inputs, generator=torch.Generator().manual_seed(0))
    together = stack(models)
    out = together(x)
    out.sum().backward()
    for r, model in enumerate(models):
        alone = model(x[r])
        alone.sum().backward()
        assert torch.equal(out[r], alone)
        grads = zip(together.parameters(), model.parameters(), strict=True)
        assert all(torch.equal(a.grad[r], b.grad) for a, b in grads)  # type: ignore[index,arg-type]


@pytest.mark.parametrize("outputs", [1, 3, 8])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"),
    [(4, 2, 1, (0, 0)), (3, 2, 0, (1, 0)), (5, 3, 2, (0, 2)), (2, 3, 0, (1, 1)), (3, 1, 1, (0, 0))],
)
def test_a_transpose_to_few_channels_is_the_one_of_torch_with_its_derivatives(
    outputs: int, kernel: int, stride: int, padding: int, more: tuple[int, int]
) -> None:
    layer = Convolution(2, outputs, kernel, stride, padding, more)
    initialise(layer, 0)
    layer.double()
    x = torch.randn(2, 2, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    exact = functional.conv_transpose2d(x, layer.weight, layer.bias, stride, padding, more)
    torch.testing.assert_close(layer(x), exact)
    assert torch.autograd.gradcheck(lambda x, w, b: layer._convolved(x, w, b), (x, layer.weight, layer.bias))


def test_initial_outputs_keep_their_size_on_the_way_up() -> None:
    layer = Convolution(64, 32, 4, 2, 1, (0, 0))
    initialise(layer, 0)
    out = layer(torch.randn(4, 64, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert 0.4 < out[:, :, 1:-1, 1:-1].std().item() < 0.8  # √⅓ for weights uniform in ±1/√fan-in
