"""Layers and networks written on trailing dimensions: the same code runs one model and R stacked members."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaetune.convolutions import ConvolutionStack, MirroredStack
from vaetune.models.configs import Convolutions
from vaetune.noise import Noise

# oneDNN takes a product of more multiply-adds than this in the whole stack, and leaves the others to MKL.
_SMALL = 16**3


class Linear(nn.Module):
    """y = x W + b for x [..., B, in]; W is [in, out], with a leading R where members are stacked."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def initialise(self, generator: torch.Generator) -> None:
        """Weights and biases uniform in ±1/√in, as in torch.nn.Linear."""
        bound = self.weight.shape[-2] ** -0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return torch.addmm(self.bias, x, self.weight)
        # The route must not depend on the number of members, or a member's last bits would: small products, and
        # those of vectors, for which MKL has other kernels in a lone product than in a batch, are summed here.
        sizes = (x.shape[-2], *self.weight.shape[-2:])
        if min(sizes) == 1 or math.prod(sizes) <= _SMALL:
            return (x.unsqueeze(-1) * self.weight.unsqueeze(-3)).sum(-2) + self.bias.unsqueeze(-2)
        return torch.baddbmm(self.bias.unsqueeze(-2), x, self.weight)


class Dropout(nn.Module):
    """Inverted dropout whose rate is a number of its own for every member (Srivastava et al. 2014)."""

    rate: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate), persistent=False)

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:
        if noise is None:
            return x
        rate = self.rate[..., None, None]
        keep = noise.uniform(x.shape[self.rate.dim() :]) >= rate
        return x * (keep / (1 - rate))


class MLP(nn.Module):
    """Linear, ReLU and, where asked for, dropout, once per width: [..., B, inputs] to [..., B, widths[-1]]."""

    def __init__(self, inputs: int, widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.dropout = Dropout(dropout) if dropout and widths else None
        self.outputs = sizes[-1]

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:
        return self.onward(self.first(x), noise)

    def first(self, x: Tensor) -> Tensor:
        """What no noise changes: the output of the first layer, before any dropout."""
        return functional.relu(self.layers[0](x), inplace=True) if len(self.layers) else x

    def onward(self, h: Tensor, noise: Noise | None) -> Tensor:
        """The rest, from what `first` gave."""
        for layer in itertools.islice(self.layers, 1, None):
            h = functional.relu(layer(self._dropped(h, noise)), inplace=True)
        return self._dropped(h, noise)

    def _dropped(self, h: Tensor, noise: Noise | None) -> Tensor:
        return h if self.dropout is None else self.dropout(h, noise)


class Encoder(nn.Module):
    """Images [..., B, *shape], and `context` further numbers where there are any, to features [..., B, outputs]."""

    def __init__(
        self, shape: Sequence[int], convolutions: Convolutions | None, widths: Sequence[int], context: int = 0
    ) -> None:
        super().__init__()
        self.convolutions = ConvolutionStack(tuple(shape), convolutions) if convolutions else None
        features = math.prod(self.convolutions.outputs if self.convolutions else shape)
        self.mlp = MLP(features + context, widths)
        self.outputs = self.mlp.outputs

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = (x if self.convolutions is None else self.convolutions(x)).flatten(-3)
        out: Tensor = self.mlp(h if context is None else torch.cat((h, context), -1), None)
        return out


class Decoder(nn.Module):
    """Latents [..., B, inputs] to `channels` planes of the images' height and width, flat: [..., B, channels·H·W].

    Hidden layers of `widths`, in the order given, then the mirror of `convolutions`.
    """

    def __init__(
        self,
        inputs: int,
        shape: Sequence[int],
        channels: int,
        convolutions: Convolutions | None,
        widths: Sequence[int],
    ) -> None:
        super().__init__()
        self.mlp = MLP(inputs, widths)
        self.convolutions = MirroredStack(tuple(shape), convolutions, channels) if convolutions else None
        outputs = math.prod(self.convolutions.inputs if self.convolutions else (channels, *shape[1:]))
        self.outputs = Linear(self.mlp.outputs, outputs)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.outputs(self.mlp(z, None))
        if self.convolutions is None:
            return out
        h = functional.relu(out, inplace=True)
        planes: Tensor = self.convolutions(h.reshape(*h.shape[:-1], *self.convolutions.inputs))
        return planes.flatten(-3)
