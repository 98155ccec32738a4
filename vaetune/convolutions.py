"""Convolutional stacks written on trailing dimensions, their shapes inferred, and the decoder that mirrors them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaetune.errors import UserError
from vaetune.models.configs import Convolutions
from vaetune.normalisation import norm

Shape = tuple[int, ...]


_LANES = 8
"""Channels that a CPU's kernels compute at once; fewer cost as much."""


class Convolution(nn.Module):
    """A convolution, or its transpose, of x [..., B, C, H, W]; the weight has a leading R where members are stacked.

    Stacked members are convolved one after the other: a member's bits then do not depend on its company. On a CPU all
    images lie with their channels last, as the library's kernels want them and would else lay them out anew each time.
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
        if len(self.weight) == 1:  # nothing to put together
            return self._convolved(x.squeeze(0), self.weight.squeeze(0), self.bias.squeeze(0)).unsqueeze(0)
        members = zip(x.unbind(0), self.weight.unbind(0), self.bias.unbind(0), strict=True)
        made = [self._convolved(*member) for member in members]
        if x.is_cpu:
            return torch.stack([y.movedim(-3, -1) for y in made]).movedim(-1, -3)  # as they lie, without conversion
        return torch.stack(made)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if x.is_cpu:
            x = x.to(memory_format=torch.channels_last)
        if not self.transposed:
            return functional.conv2d(x, weight, bias, self.stride, self.padding)
        if x.is_cpu and len(bias) < _LANES:
            return self._multiplied(x, weight, bias)
        return functional.conv_transpose2d(x, weight, bias, self.stride, self.padding, self.output_padding)

    def _multiplied(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The transpose as one product: every pixel of every channel to its patch of the output."""
        batch, channels, *sizes = x.shape
        inputs, outputs, kernel, _ = weight.shape
        patches = x.movedim(1, -1).reshape(-1, channels) @ weight.movedim(1, -1).reshape(inputs, -1)
        placed = patches.view(batch, *sizes, kernel, kernel, outputs)
        image: Tensor = _Overlaid.apply(placed, self.stride, self.padding, self.output_padding)
        return (image + bias).movedim(-1, 1)


class _Overlaid(torch.autograd.Function):
    """Patches [B, h, w, K, K, C], laid `stride` apart and added where they overlap: [B, H, W, C].

    As `torch.nn.functional.fold` with the channels last, which takes half its time for three channels.
    """

    @staticmethod
    def forward(ctx: Any, patches: Tensor, stride: int, padding: int, output_padding: Shape) -> Tensor:
        batch, h, w, kernel, _, channels = patches.shape
        ctx.geometry = patches.shape, stride, padding
        height, width = ((n - 1) * stride + kernel + m for n, m in zip((h, w), output_padding, strict=True))
        whole = patches.new_zeros(batch, height, width, channels)
        for i, j in itertools.product(range(kernel), range(kernel)):
            whole[:, i : i + stride * h : stride, j : j + stride * w : stride] += patches[:, :, :, i, j]
        return whole[:, padding : height - padding, padding : width - padding].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (batch, h, w, kernel, _, channels), stride, padding = ctx.geometry
        whole = functional.pad(grad, (0, 0, padding, padding, padding, padding))
        image, row, pixel, channel = whole.stride()
        strides = (image, stride * row, stride * pixel, row, pixel, channel)
        return whole.as_strided((batch, h, w, kernel, kernel, channels), strides).contiguous(), None, None, None


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
            x = functional.relu(x)  # not in place: of a view, autograd would copy the whole
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
            x = functional.relu(layer(x))
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
