"""The ablation axis: what may stand between the trunk's features and the classifier.

One interface: features h [..., B, H] and noise (None: the posterior mean) to a `Code`. The plain arm is
`Deterministic`; every other class changes one thing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vaetune.elbo import (
    half_square_norm,
    inverse_softplus,
    kl_normal,
    log_normal,
    log_standard_normal,
    softplus,
)
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.networks import Linear
from vaetune.noise import Noise


class Code(NamedTuple):
    """What a bottleneck passes on: z, μ and σ of the additive noise [..., B, Z], the penalty [..., B] in nats.

    `scale` [..., B, Z] is what ε is multiplied by in z = μ + scale·ε, None where z is not drawn so.
    """

    z: Tensor
    mu: Tensor
    sigma: Tensor | None
    penalty: Tensor | None
    scale: Tensor | None = None

    def log_ratio(self) -> Tensor:
        """log N(z; 0, I) − log N(z; μ, σ²) [..., B]: minus a one-draw estimate of the KL. Needs σ."""
        assert self.sigma is not None
        return log_standard_normal(self.z) - log_normal(self.z, self.mu, self.sigma)


class Latents(Protocol):
    """What a configuration says about a latent layer."""

    @property
    def latents(self) -> int: ...

    @property
    def initial_sigma(self) -> float: ...


class Bottleneck(nn.Module, ABC):
    """From h [..., B, features] to a code of `width` numbers; `mu` is the layer that every bottleneck shares."""

    def __init__(self, features: int, config: Latents) -> None:
        super().__init__()
        self.width = config.latents
        self.mu = Linear(features, config.latents)

    @abstractmethod
    def forward(self, h: Tensor, noise: Noise | None) -> Code: ...

    def redrawn(self, code: Code, noise: Noise) -> Tensor:
        """Another z [..., B, Z] for a code that this layer has made."""
        return code.mu if code.scale is None else _perturb(code.mu, code.scale, noise)


class Deterministic(Bottleneck):
    """z = μ."""

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu = self.mu(h)
        return Code(mu, mu, None, None)


class DeterministicWide(Bottleneck):
    """z = μ with as many numbers as the variational layer's μ and ρ heads have together."""

    def __init__(self, features: int, config: SupervisedVAEConfig) -> None:
        super().__init__(features, config)
        self.width = 2 * config.latents
        self.extra = Linear(features, config.latents)

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu = torch.cat((self.mu(h), self.extra(h)), -1)
        return Code(mu, mu, None, None)


class AdditiveNoise(Bottleneck):
    """z = μ + σ·ε with the constant σ of the configuration."""

    sigma: Tensor

    def __init__(self, features: int, config: SupervisedVAEConfig) -> None:
        super().__init__(features, config)
        self.register_buffer("sigma", torch.tensor(config.sigma), persistent=False)

    def perturbed(self, h: Tensor, noise: Noise | None) -> Code:
        """The code without its penalty."""
        mu = self.mu(h)
        sigma = self.sigma[..., None, None].expand_as(mu)
        return Code(_perturb(mu, sigma, noise), mu, sigma, None, sigma)


class FixedNoise(AdditiveNoise):
    """Noise without a penalty; a larger μ can outgrow it."""

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        return self.perturbed(h, noise)


class Compression(Bottleneck):
    """z = μ, penalty ½‖μ‖²: the pull towards the prior's mean without its noise."""

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu = self.mu(h)
        return Code(mu, mu, None, half_square_norm(mu))


class FixedNoiseCompression(AdditiveNoise):
    """Noise with penalty ½‖μ‖², which for a constant σ is the exact KL up to a constant."""

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        code = self.perturbed(h, noise)
        return code._replace(penalty=half_square_norm(code.mu))


class GaussianDropout(Bottleneck):
    """z = μ·(1 + √α·ε), α = p / (1 − p): noise that a larger μ cannot outgrow (Srivastava et al. 2014, §10)."""

    rate: Tensor

    def __init__(self, features: int, config: SupervisedVAEConfig) -> None:
        super().__init__(features, config)
        self.register_buffer("rate", torch.tensor(config.latent_dropout), persistent=False)

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu = self.mu(h)
        alpha = (self.rate / (1 - self.rate))[..., None, None]
        scale = alpha.sqrt() * mu
        return Code(_perturb(mu, scale, noise), mu, None, None, scale)


class Gaussian(Bottleneck):
    """The variational layer: z = μ + σ·ε, σ = softplus(ρ + b), penalty KL(N(μ, σ²) ‖ N(0, I)) (Kingma & Welling 2014).

    b is set so that ρ = 0 gives the configuration's initial σ. σ is never below 1e-6, so the KL stays finite.
    """

    def __init__(self, features: int, config: Latents) -> None:
        super().__init__(features, config)
        self.rho = Linear(features, config.latents)
        self.offset = inverse_softplus(config.initial_sigma)

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu = self.mu(h)
        sigma = softplus(self.rho(h) + self.offset) + 1e-6
        return Code(_perturb(mu, sigma, noise), mu, sigma, kl_normal(mu, sigma), sigma)


class LogGaussian(Bottleneck):
    """The variational layer in the other common form: z = μ + σ·ε with σ = exp(s), s the head's number.

    s = 0 from the head gives the configuration's initial σ.
    """

    def __init__(self, features: int, config: Latents) -> None:
        super().__init__(features, config)
        self.rho = Linear(features, config.latents)
        self.offset = math.log(config.initial_sigma)

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """μ and s = log σ, [..., B, Z]."""
        return self.mu(h), self.rho(h) + self.offset

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu, s = self.parts(h)
        sigma = s.exp()
        kl = 0.5 * (mu.square() + (2 * s).exp() - 1 - 2 * s).sum(-1)
        return Code(_perturb(mu, sigma, noise), mu, sigma, kl, sigma)


class LogSquaredGaussian(LogGaussian):
    """A slip that has been published as code: (log σ)² where the KL has 2·log σ.

    Its penalty is −½ Σ [1 + s² − μ² − exp(s²)], which is *not* a KL divergence. It too is least at μ = 0 and σ = 1, and
    pulls σ there from both sides alike, with fourth powers of s where the KL has squares.
    """

    def forward(self, h: Tensor, noise: Noise | None) -> Code:
        mu, s = self.parts(h)
        square = s.square()
        sigma = s.exp()
        penalty = 0.5 * (mu.square() + square.exp() - 1 - square).sum(-1)
        return Code(_perturb(mu, sigma, noise), mu, sigma, penalty, sigma)


def _perturb(mu: Tensor, scale: Tensor, noise: Noise | None) -> Tensor:
    if noise is None:
        return mu
    return torch.addcmul(mu, scale, noise.normal(mu.shape[-2:]))


CATALOGUE: dict[str, type[Bottleneck]] = {
    "deterministic": Deterministic,
    "deterministic_wide": DeterministicWide,
    "fixed_noise": FixedNoise,
    "compression": Compression,
    "fixed_noise_compression": FixedNoiseCompression,
    "gaussian_dropout": GaussianDropout,
    "gaussian": Gaussian,
    "gaussian_log": LogGaussian,
    "gaussian_log_squared": LogSquaredGaussian,
}
