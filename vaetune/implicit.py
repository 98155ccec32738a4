"""An implicit posterior and the discriminator that tells its draws from others: what adversarial models are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vaetune.convolutions import Shape
from vaetune.models.configs import Convolutions
from vaetune.networks import MLP, Encoder, Linear


class ImplicitPosterior(nn.Module):
    """z as a function of features h and noise ε ~ N(0, I): draws from q(z|x), whose density nobody can write down.

    The noise joins the features by `injection`: beside them (concatenation), or projected to their width and added
    (addition) or multiplied with (product).
    """

    def __init__(
        self,
        features: int,
        latents: int,
        noise: int,
        injection: Literal["concatenation", "addition", "product"],
        widths: Sequence[int],
    ) -> None:
        super().__init__()
        self.injection, self.noise = injection, noise
        self.projection = None if injection == "concatenation" else Linear(noise, features)
        self.mlp = MLP(features if self.projection else features + noise, widths)
        self.z = Linear(self.mlp.outputs, latents)

    def forward(self, h: Tensor, eps: Tensor) -> Tensor:
        """z [..., B, Z] for h [..., B, features] and ε [..., B, noise]."""
        if self.projection is None:
            joined = torch.cat((h, eps), -1)
        elif self.injection == "addition":
            joined = h + self.projection(eps)
        else:
            joined = h * self.projection(eps)
        z: Tensor = self.z(self.mlp(joined, None))
        return z


class Discriminator(nn.Module):
    """T(x, z) [..., B]: at its optimum log q(z|x) − log r(z), r what z is told from (Mescheder 2017, eq. 3.3)."""

    def __init__(self, shape: Shape, latents: int, convolutions: Convolutions | None, widths: Sequence[int]) -> None:
        super().__init__()
        self.body = Encoder(shape, convolutions, widths, latents)
        self.score = Linear(self.body.outputs, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        score: Tensor = self.score(self.body(x, z)).squeeze(-1)
        return score
