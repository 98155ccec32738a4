"""Adversarial variational Bayes, with and without adaptive contrast (Mescheder, Nowozin & Geiger 2017)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from vaetune import elbo, likelihoods
from vaetune.bottlenecks import Code
from vaetune.implicit import Discriminator, ImplicitPosterior
from vaetune.models.base import Generative, Player, Stage, Task
from vaetune.models.configs import AVBConfig
from vaetune.networks import Decoder, Encoder
from vaetune.noise import Noise


class Draw(NamedTuple):
    """A draw from q(z|x), what the discriminator sees of it [..., B, Z], and log r(z|x) − log p(z) [..., B]."""

    z: Tensor
    seen: Tensor
    contrast: Tensor


@final
class AVB(Generative):
    """−log p(x|z) + β·T(x, z), z drawn from an implicit posterior: a discriminator T stands for log q(z|x) − log p(z).

    With adaptive contrast T tells q(z|x) from r(z|x), the Gaussian of its own mean and variances, as N(0, I) after
    standardising, and log r − log p is added in closed form. The KL, and so the bound, are estimates that are as good
    as the discriminator; likelihoods to quote come from `vaetune.evaluation.ais`.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"reconstruct", "generate"})
    config: AVBConfig

    def __init__(self, config: AVBConfig, shape: tuple[int, ...], classes: int) -> None:
        discriminator = Player(
            "discriminator",
            ("discriminator",),
            "discriminator_terms",
            config.discriminator_steps,
            config.discriminator_rate,
        )
        players = (discriminator, Player("", ("encoder", "q_z", "decoder")))
        super().__init__(config, shape, classes, (Stage(1.0, players),))
        self.latents = config.latents
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        self.encoder = Encoder(shape, config.convolutions, config.hidden)
        self.q_z = ImplicitPosterior(
            self.encoder.outputs, config.latents, config.noise, config.injection, config.posterior
        )
        planes = self.likelihood.outputs * shape[0]
        self.decoder = Decoder(config.latents, shape, planes, config.convolutions, config.hidden[::-1])
        self.discriminator = Discriminator(shape, config.latents, config.convolutions, config.discriminator)
        self.register_buffer("beta", torch.tensor(config.beta), persistent=False)

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        """noise None gives z at ε = 0, which is not the posterior's mean."""
        z = self._sample(self.encoder(x), noise)
        return Code(z, z, None, None)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean = self.likelihood.mean(self.decoder(z))
        return mean.reshape(*mean.shape[:-1], *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        log_p: Tensor = self.likelihood.log_prob(x.flatten(-3), self.decoder(z))
        return log_p

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        """With the discriminator's estimate of log q: no bound follows from it."""
        draw = self._draw(x, noise)
        kl: Tensor = self.discriminator(x, draw.seen) + draw.contrast
        return self.log_likelihood(x, draw.z) - kl

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        """ "kl" and "elbo" are the discriminator's estimates."""
        x = self.observed(x, noise)
        draw = self._draw(x, noise)
        kl = self.discriminator(x, draw.seen) + draw.contrast
        reconstruction = -self.log_likelihood(x, draw.z)
        loss = reconstruction + penalty_scale * self.get_buffer("beta").unsqueeze(-1) * kl
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def discriminator_terms(
        self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0
    ) -> dict[str, Tensor]:
        """What the discriminator minimises: the cross-entropy of telling draws of q(z|x) from N(0, I) (eq. 3.3)."""
        with torch.no_grad():
            x = self.observed(x, noise)
            seen = self._draw(x, noise).seen
            other = torch.zeros_like(seen) if noise is None else noise.normal(seen.shape[-2:])
        loss = elbo.softplus(-self.discriminator(x, seen)) + elbo.softplus(self.discriminator(x, other))
        return {"loss": loss}

    def _sample(self, h: Tensor, noise: Noise | None) -> Tensor:
        size = (h.shape[-2], self.config.noise)
        eps = h.new_zeros((*h.shape[:-2], *size)) if noise is None else noise.normal(size)
        z: Tensor = self.q_z(h, eps)
        return z

    def _draw(self, x: Tensor, noise: Noise | None) -> Draw:
        h = self.encoder(x)
        z = self._sample(h, noise)
        if not self.config.adaptive_contrast:
            return Draw(z, z, torch.zeros_like(z[..., 0]))
        mu, sigma = self._moments(h, noise)
        seen = (z - mu) / sigma
        return Draw(z, seen, elbo.log_normal(z, mu, sigma) - elbo.log_standard_normal(z))

    @torch.no_grad()
    def _moments(self, h: Tensor, noise: Noise | None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [..., B, Z] of draws of z. Constants to the gradient: r is only the yardstick."""
        if noise is None:
            return self._sample(h, None), h.new_ones((*h.shape[:-1], self.latents))
        n = self.config.contrast_draws
        repeated = h.unsqueeze(-3).expand(*h.shape[:-2], n, *h.shape[-2:]).flatten(-3, -2)
        z = self._sample(repeated, noise)
        z = z.reshape(*h.shape[:-2], n, *h.shape[-2:-1], self.latents)
        return z.mean(-3), z.std(-3) + 1e-3
