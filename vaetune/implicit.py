"""An implicit posterior and the discriminator that tells its draws from others: what adversarial models are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vaetune import elbo
from vaetune.convolutions import Shape
from vaetune.models.configs import Convolutions
from vaetune.networks import MLP, Encoder, Linear
from vaetune.noise import Noise

Sampler = Callable[[Tensor, Noise | None], Tensor]
"""From features [..., B, H] to a draw of z [..., B, Z]; noise None gives the draw at ε = 0."""


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

    def sample(self, h: Tensor, noise: Noise | None) -> Tensor:
        """A draw; noise None gives that at ε = 0, which is not the posterior's mean."""
        size = (h.shape[-2], self.noise)
        z: Tensor = self(h, h.new_zeros((*h.shape[:-2], *size)) if noise is None else noise.normal(size))
        return z


class Draw(NamedTuple):
    """A draw from q(z|x), what the discriminator sees of it [..., B, Z], and log r(z|x) − log p(z) [..., B]."""

    z: Tensor
    seen: Tensor
    contrast: Tensor


class Discriminator(nn.Module):
    """T(x, z) [..., B]: at its optimum log q(z|x) − log r(z), r what z is told from (Mescheder 2017, eq. 3.3).

    r is the prior N(0, I). With adaptive contrast, which takes `contrast_draws` draws, it is the Gaussian of q's own
    mean and variances, as N(0, I) after standardising, and log r − log p is added in closed form (§4).
    """

    def __init__(
        self,
        shape: Shape,
        latents: int,
        convolutions: Convolutions | None,
        widths: Sequence[int],
        contrast_draws: int = 0,
    ) -> None:
        super().__init__()
        self.body = Encoder(shape, convolutions, widths, latents)
        self.score = Linear(self.body.outputs, 1)
        self.contrast_draws = contrast_draws

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        score: Tensor = self.score(self.body(x, z)).squeeze(-1)
        return score

    def draw(self, sample: Sampler, h: Tensor, noise: Noise | None) -> Draw:
        """One z for every image of which `sample` makes draws from features h [..., B, H]."""
        z = sample(h, noise)
        if not self.contrast_draws:
            return Draw(z, z, torch.zeros_like(z[..., 0]))
        mu, sigma = self._moments(sample, h, noise)
        return Draw(z, (z - mu) / sigma, elbo.log_normal(z, mu, sigma) - elbo.log_standard_normal(z))

    def kl(self, x: Tensor, draw: Draw) -> Tensor:
        """What stands for log q(z|x) − log p(z) of the draw, [..., B] in nats."""
        kl: Tensor = self(x, draw.seen) + draw.contrast
        return kl

    def loss(self, x: Tensor, draw: Draw, noise: Noise | None) -> Tensor:
        """The cross-entropy [..., B] of telling the draw from one of r."""
        other = torch.zeros_like(draw.seen) if noise is None else noise.normal(draw.seen.shape[-2:])
        return elbo.softplus(-self(x, draw.seen)) + elbo.softplus(self(x, other))

    @torch.no_grad()
    def _moments(self, sample: Sampler, h: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [..., B, Z] of draws of z. Constants to the gradient: r is only the yardstick."""
        if noise is None:
            z = sample(h, None)
            return z, torch.ones_like(z)
        n = self.contrast_draws
        repeated = h.unsqueeze(-3).expand(*h.shape[:-2], n, *h.shape[-2:]).flatten(-3, -2)
        z = sample(repeated, noise)
        z = z.reshape(*h.shape[:-2], n, *h.shape[-2:-1], z.shape[-1])
        return z.mean(-3), z.std(-3) + 1e-3
