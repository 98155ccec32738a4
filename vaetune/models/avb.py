"""Adversarial variational Bayes, with and without adaptive contrast (Mescheder, Nowozin & Geiger 2017)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from vaetune import likelihoods
from vaetune.implicit import Discriminator, ImplicitPosterior
from vaetune.models.adversarial import Adversarial, duel
from vaetune.models.configs import AVBConfig
from vaetune.networks import Decoder, Encoder
from vaetune.noise import Noise


@final
class AVB(Adversarial):
    """One encoder, one implicit posterior, one decoder."""

    config: AVBConfig

    def __init__(self, config: AVBConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes, duel(config, "encoder", "q_z", "decoder"))
        self.latents = config.latents
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        self.encoder = Encoder(shape, config.convolutions, config.hidden)
        self.q_z = ImplicitPosterior(
            self.encoder.outputs, config.latents, config.noise, config.injection, config.posterior
        )
        planes = self.likelihood.outputs * shape[0]
        self.decoder = Decoder(config.latents, shape, planes, config.convolutions, config.hidden[::-1])
        contrast = config.contrast_draws if config.adaptive_contrast else 0
        self.discriminator = Discriminator(shape, config.latents, config.convolutions, config.discriminator, contrast)
        self.register_buffer("beta", torch.tensor(config.beta), persistent=False)

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def features(self, x: Tensor) -> Tensor:
        h: Tensor = self.encoder(x)
        return h

    def sample(self, h: Tensor, noise: Noise | None) -> Tensor:
        return self.q_z.sample(h, noise)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean = self.likelihood.mean(self.decoder(z))
        return mean.reshape(*mean.shape[:-1], *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        log_p: Tensor = self.likelihood.log_prob(x.flatten(-3), self.decoder(z))
        return log_p
