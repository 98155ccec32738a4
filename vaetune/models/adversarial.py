"""What adversarial models share: two players, a discriminator in the place of the KL (Mescheder et al. 2017)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vaetune.bottlenecks import Code
from vaetune.implicit import Discriminator, Draw
from vaetune.models.base import Generative, Player, Stage
from vaetune.models.configs import AdversarialConfig
from vaetune.noise import Noise


class Adversarial(Generative):
    """−log p(x|z) + β·T(x, z), z drawn from an implicit posterior: a discriminator T stands for log q(z|x) − log p(z).

    The KL, and so the bound, are estimates that are as good as the discriminator; likelihoods to quote come from
    `vaetune.evaluation.ais`.
    """

    discriminator: Discriminator

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What the posterior knows of images x, [..., B, H]."""

    @abstractmethod
    def sample(self, h: Tensor, noise: Noise | None) -> Tensor:
        """A draw of z [..., B, Z] for features h; noise None gives that at ε = 0."""

    def draw(self, x: Tensor, noise: Noise | None) -> Draw:
        """A draw of z for each image, and what the discriminator makes of it."""
        return self.discriminator.draw(self.sample, self.features(x), noise)

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        """noise None gives z at ε = 0, which is not the posterior's mean."""
        z = self.sample(self.features(x), noise)
        return Code(z, z, None, None)

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        """With the discriminator's estimate of log q: no bound follows from it."""
        draw = self.draw(x, noise)
        return self.log_likelihood(x, draw.z) - self.discriminator.kl(x, draw)

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        """ "kl" and "elbo" are the discriminator's estimates."""
        x = self.observed(x, noise)
        draw = self.draw(x, noise)
        kl = self.discriminator.kl(x, draw)
        reconstruction = -self.log_likelihood(x, draw.z)
        loss = reconstruction + penalty_scale * self.get_buffer("beta").unsqueeze(-1) * kl
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def discriminator_terms(
        self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0
    ) -> dict[str, Tensor]:
        """What the discriminator minimises: the cross-entropy of telling draws of q(z|x) from others (eq. 3.3)."""
        with torch.no_grad():
            x = self.observed(x, noise)
            draw = self.draw(x, noise)
        return {"loss": self.discriminator.loss(x, draw, noise)}


def duel(config: AdversarialConfig, *modules: str) -> tuple[Stage, ...]:
    """One stage in which the discriminator and then all else, of these names, take their steps on every batch."""
    discriminator = Player(
        "discriminator",
        ("discriminator",),
        "discriminator_terms",
        config.discriminator_steps,
        config.discriminator_rate,
    )
    return (Stage(1.0, (discriminator, Player("", modules))),)
