"""Two paired datasets with implicit posteriors: the conjoint VAE with a discriminator in the place of its KLs."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vaetune.implicit import Discriminator, ImplicitPosterior
from vaetune.models.adversarial import Adversarial, duel
from vaetune.models.configs import ConjointAVBConfig
from vaetune.models.conjoint import Conjoint
from vaetune.noise import Noise


@final
class ConjointAVB(Conjoint, Adversarial):
    """q(u₁|x₁)·q(s|x₁, x₂)·q(u₂|x₂), each implicit; one discriminator sees the pair and all three parts of z."""

    config: ConjointAVBConfig

    def __init__(self, config: ConjointAVBConfig, shape: tuple[int, ...], classes: int) -> None:
        encoders = ("left_encoder", "right_encoder", "q_left", "q_shared", "q_right")
        super().__init__(config, shape, classes, duel(config, *encoders, "left_decoder", "right_decoder"))
        left, right = self.left_encoder.outputs, self.right_encoder.outputs
        self.features_of = (left, right)
        self.q_left, self.q_shared, self.q_right = (
            ImplicitPosterior(features, latents, config.noise, config.injection, config.posterior)
            for features, latents in zip((left, left + right, right), self.parts, strict=True)
        )
        contrast = config.contrast_draws if config.adaptive_contrast else 0
        self.discriminator = Discriminator(shape, self.latents, config.convolutions, config.discriminator, contrast)

    def features(self, x: Tensor) -> Tensor:
        left, right = self.pair(x)
        return torch.cat((self.left_encoder(left), self.right_encoder(right)), -1)

    def sample(self, h: Tensor, noise: Noise | None) -> Tensor:
        left, right = torch.split(h, list(self.features_of), -1)
        parts = (self.q_left.sample(left, noise), self.q_shared.sample(h, noise), self.q_right.sample(right, noise))
        return torch.cat(parts, -1)
