"""Convolutional stacks written on trailing dimensions, their shapes inferred, and the decoder that mirrors them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaetune.errors import UserError
from vaetune.models.configs import Convolutions
from vaetune.normalisation import norm

Shape = tuple[int, ...]


class Convolution(nn.Module):
    """A convolution, or its transpose, of x [..., B, C, H, W]; the weight has a leading R where members are stacked.

    Stacked members are convolved one after the other: a member's bits then do not depend on its company.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        padding: int,
        output_padding: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.transposed = output_padding is not None
        first, second = (inputs, outputs) if self.transposed else (outputs, inputs)
        self.weight = nn.Parameter(torch.empty(first, second, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.stride, self.padding, self.output_padding = stride, padding, output_padding or (0, 0)
        # The numbers that one output sums; of a transpose's kernel only every stride-th row and column meets it.
        self.fan_in = inputs * kernel**2 / (stride**2 if self.transposed else 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Weights and biases uniform in ±1/√fan-in."""
        bound = self.fan_in**-0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 4:
            return self._convolved(x, self.weight, self.bias)
        members = zip(x.unbind(0), self.weight.unbind(0), self.bias.unbind(0), strict=True)
        return torch.stack([self._convolved(*member) for member in members])

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.transposed:
            return functional.conv_transpose2d(x, weight, bias, self.stride, self.padding, self.output_padding)
        return functional.conv2d(x, weight, bias, self.stride, self.padding)


class ConvolutionStack(nn.Module):
    """Convolution, normalisation where asked for, and ReLU once a layer: [..., B, *shape] to [..., B, *outputs]."""

    def __init__(self, shape: Shape, config: Convolutions) -> None:
        super().__init__()
        shapes = inferred(shape, config)
        self.layers = nn.ModuleList(
            Convolution(before[0], after[0], *geometry)
            for (before, after), geometry in zip(itertools.pairwise(shapes), _geometry(config), strict=True)
        )
        kind, kept = config.normalisation, config.statistics_kept
        self.norms = nn.ModuleList(n for c in config.channels if (n := norm(kind, c, kept)) is not None)
        self.outputs = shapes[-1]

    def forward(self, x: Tensor) -> Tensor:
        for i, convolution in enumerate(self.layers):
            x = convolution(x)
            if self.norms:
                x = self.norms[i](x)
            x = functional.relu(x, inplace=True)
        return x


class MirroredStack(nn.Module):
    """The way back through a stack: [..., B, *outputs of the stack] to [..., B, channels, H, W], ReLU between layers.

    Each layer's output padding is computed so that its output has the shape that the mirrored layer was given.
    """

    def __init__(self, shape: Shape, config: Convolutions, channels: int) -> None:
        super().__init__()
        shapes = inferred(shape, config)
        self.inputs = shapes[-1]
        targets = [(channels, *shape[1:]), *shapes[1:]]
        self.layers = nn.ModuleList()
        for layer, (kernel, stride, padding) in reversed(list(enumerate(_geometry(config)))):
            before, after = shapes[layer + 1], targets[layer]
            lost = tuple((size + 2 * padding - kernel) % stride for size in after[1:])
            self.layers.append(Convolution(before[0], after[0], kernel, stride, padding, lost))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x), inplace=True)
        out: Tensor = self.layers[-1](x)
        return out


def inferred(shape: Shape, config: Convolutions) -> list[Shape]:
    """The shapes (channels, height, width) before, between and after the layers; `UserError` names a misfit."""
    lengths = {name: len(getattr(config, name)) for name in ("channels", "kernels", "strides", "paddings")}
    if len(set(lengths.values())) != 1 or not lengths["channels"]:
        listed = ", ".join(f"{n} {name}" for name, n in lengths.items())
        raise UserError(f"model.convolutions needs one number a layer in every list, at least one; found {listed}")
    shapes = [tuple(shape)]
    for layer, (channels, (kernel, stride, padding)) in enumerate(
        zip(config.channels, _geometry(config), strict=True), 1
    ):
        where = f"model.convolutions, layer {layer} (kernel {kernel}, stride {stride}, padding {padding})"
        if min(channels, kernel, stride) < 1 or not 0 <= padding < kernel:
            raise UserError(
                f"{where}, {channels} channels: all but the padding must be at least 1, the padding below the kernel"
            )
        sizes = [size + 2 * padding - kernel for size in shapes[-1][1:]]
        if min(sizes) < 0:
            way = " → ".join(map(_text, shapes))
            raise UserError(f"{where}: its input {_text(shapes[-1])} is too small for the kernel ({way}); drop it")
        shapes.append((channels, *(size // stride + 1 for size in sizes)))
    return shapes


def _geometry(config: Convolutions) -> Sequence[tuple[int, int, int]]:
    return list(zip(config.kernels, config.strides, config.paddings, strict=True))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
