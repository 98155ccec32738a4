"""What VAEs with a Gaussian posterior share: the terms of the ELBO, and the weights and schedules put on its KL."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vaetune import elbo, likelihoods
from vaetune.bottlenecks import Code, Gaussian
from vaetune.errors import UserError
from vaetune.models.base import Generative
from vaetune.models.configs import VAEConfig
from vaetune.networks import Decoder, Encoder
from vaetune.noise import Noise


class GaussianVAE(Generative):
    """−log p(x|z) + β·KL(q(z|x) ‖ N(0, I)), both in nats per image; with β = 1 the negative ELBO.

    `context` numbers, made from the label by `about`, go to encoder and decoder beside x and z.
    """

    config: VAEConfig

    def __init__(self, config: VAEConfig, shape: tuple[int, ...], classes: int, context: int) -> None:
        super().__init__(config, shape, classes)
        if config.free_bits and config.kl != "analytic":
            raise UserError("model.free_bits needs the KL of every latent; set model.kl to analytic")
        self.latents = config.latents
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        self.encoder = Encoder(shape, config.convolutions, config.hidden, context)
        self.q_z = Gaussian(self.encoder.outputs, config)
        planes = self.likelihood.outputs * shape[0]
        self.decoder = Decoder(config.latents + context, shape, planes, config.convolutions, config.hidden[::-1])
        for name in ("beta", "capacity", "free_bits"):
            self.register_buffer(name, torch.tensor(getattr(config, name)), persistent=False)

    @abstractmethod
    def about(self, y: Tensor | None) -> Tensor | None:
        """What encoder and decoder are told besides, [..., B, context]; None for nothing."""

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        code: Code = self.q_z(self.encoder(x, self.about(y)), noise)
        return code

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(x.flatten(-3), self._outputs(z, y))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean = self.likelihood.mean(self._outputs(z, y))
        return mean.reshape(*mean.shape[:-1], *self.shape)

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        x = self.observed(x, noise)
        code = self.code(x, noise, y)
        kl = code.penalty
        assert kl is not None
        if self.config.kl == "monte_carlo" and noise is not None:
            kl = -code.log_ratio()
        reconstruction = -self.log_likelihood(x, code.z, y)
        loss = reconstruction + self._penalty(code, kl, penalty_scale)
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        code = self.code(x, noise, y)
        return self.log_likelihood(x, code.z, y) + code.log_ratio()

    def _outputs(self, z: Tensor, y: Tensor | None) -> Tensor:
        context = self.about(y)
        out: Tensor = self.decoder(z if context is None else torch.cat((z, context), -1))
        return out

    def _penalty(self, code: Code, kl: Tensor, scale: float) -> Tensor:
        beta = self.get_buffer("beta").unsqueeze(-1)
        if self.config.free_bits:
            assert code.sigma is not None
            kl = elbo.free_bits(elbo.kl_normal_each(code.mu, code.sigma), self.get_buffer("free_bits"))
        if self.config.capacity:
            # An image's own KL, as in the equation; taking the batch's mean first is the other convention.
            return beta * (kl - scale * self.get_buffer("capacity").unsqueeze(-1)).abs()
        return scale * beta * kl
