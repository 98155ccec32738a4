"""Two paired datasets in one VAE: what each has for itself, and what both share."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from vaetune.bottlenecks import Code, Gaussian
from vaetune.models.configs import ConjointVAEConfig
from vaetune.models.conjoint import Conjoint
from vaetune.noise import Noise


class _Size(NamedTuple):
    latents: int
    initial_sigma: float


@final
class ConjointVAE(Conjoint):
    """−log p(x₁|u₁, s) − log p(x₂|u₂, s) + β·(KL(q(u₁|x₁)) + KL(q(u₂|x₂)) + KL(q(s|x₁, x₂))), all to N(0, I)."""

    config: ConjointVAEConfig

    def __init__(self, config: ConjointVAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes)
        private, shared = _Size(config.private, config.initial_sigma), _Size(config.latents, config.initial_sigma)
        self.q_left = Gaussian(self.left_encoder.outputs, private)
        self.q_shared = Gaussian(self.left_encoder.outputs + self.right_encoder.outputs, shared)
        self.q_right = Gaussian(self.right_encoder.outputs, private)

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        x_left, x_right = self.pair(x)
        h_left, h_right = self.left_encoder(x_left), self.right_encoder(x_right)
        codes = (
            self.q_left(h_left, noise),
            self.q_shared(torch.cat((h_left, h_right), -1), noise),
            self.q_right(h_right, noise),
        )
        z, mu, sigma = (torch.cat([code[i] for code in codes], -1) for i in range(3))
        return Code(z, mu, sigma, codes[0].penalty + codes[1].penalty + codes[2].penalty)

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        code = self.code(x, noise)
        return self.log_likelihood(x, code.z) + code.log_ratio()

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        x = self.observed(x, noise)
        code = self.code(x, noise)
        kl = code.penalty
        assert kl is not None
        reconstruction = -self.log_likelihood(x, code.z)
        loss = reconstruction + penalty_scale * self.get_buffer("beta").unsqueeze(-1) * kl
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
