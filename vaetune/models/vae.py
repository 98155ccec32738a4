"""The variational autoencoder (Kingma & Welling 2014)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from vaetune import elbo, likelihoods
from vaetune.bottlenecks import Code, Gaussian
from vaetune.models.base import Generative, Task
from vaetune.models.configs import VAEConfig
from vaetune.networks import MLP, Linear
from vaetune.noise import Noise


class VAE(Generative):
    """−log p(x|z) + β·KL(q(z|x) ‖ N(0, I)), both in nats per image; with β = 1 the negative ELBO (eq. 3)."""

    tasks: ClassVar[frozenset[Task]] = frozenset({"reconstruct", "generate"})
    config: VAEConfig

    def __init__(self, config: VAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes)
        pixels = math.prod(shape)
        self.latents = config.latents
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        self.encoder = MLP(pixels, config.hidden)
        self.q_z = Gaussian(self.encoder.outputs, config)
        self.decoder = MLP(config.latents, config.hidden[::-1])
        self.pixels = Linear(self.decoder.outputs, pixels * self.likelihood.outputs)
        self.register_buffer("beta", torch.tensor(config.beta), persistent=False)

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        code: Code = self.q_z(self.encoder(x.flatten(-3), noise), noise)
        return code

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(x.flatten(-3), self._outputs(z))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean = self.likelihood.mean(self._outputs(z))
        return mean.reshape(*mean.shape[:-1], *self.shape)

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        code = self.code(x, noise, y)
        kl = code.penalty
        assert kl is not None
        reconstruction = -self.log_likelihood(x, code.z, y)
        loss = reconstruction + penalty_scale * self.get_buffer("beta").unsqueeze(-1) * kl
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        code = self.code(x, noise, y)
        assert code.sigma is not None
        log_ratio = elbo.log_standard_normal(code.z) - elbo.log_normal(code.z, code.mu, code.sigma)
        return self.log_likelihood(x, code.z, y) + log_ratio

    def _outputs(self, z: Tensor) -> Tensor:
        out: Tensor = self.pixels(self.decoder(z, None))
        return out
