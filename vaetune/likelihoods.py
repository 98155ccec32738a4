"""p(x|z): how a decoder's outputs score images, all constants kept, in nats per image.

One interface: outputs [..., B, `outputs`·D] of a decoder for images of D numbers in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaetune import elbo
from vaetune.errors import UserError
from vaetune.models.configs import GenerativeConfig
from vaetune.noise import Noise


class Likelihood(nn.Module, ABC):
    """`outputs` numbers of the decoder describe one of an image's numbers; `density` says that p(x|z) is one in x."""

    outputs: ClassVar[int] = 1
    density: ClassVar[bool] = True

    @abstractmethod
    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        """log p(x|z) [..., B] of images x [..., B, D]."""

    @abstractmethod
    def mean(self, out: Tensor) -> Tensor:
        """The mean of p(x|z) [..., B, D]; a Gaussian's may leave [0, 1]."""


class Bernoulli(Likelihood):
    """Outputs are logits. For grey images Σ x log p + (1 − x) log(1 − p) is used as it stands, which is no density."""

    density = False

    def __init__(self, config: GenerativeConfig) -> None:
        super().__init__()

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        return elbo.log_bernoulli(x, out)

    def mean(self, out: Tensor) -> Tensor:
        return out.sigmoid()


class Gaussian(Likelihood):
    """Outputs are means; the constant σ of the configuration is one a member."""

    sigma: Tensor

    def __init__(self, config: GenerativeConfig) -> None:
        super().__init__()
        self.register_buffer("sigma", torch.tensor(config.pixel_sigma), persistent=False)

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        return elbo.log_normal(x, out, self.sigma[..., None, None].expand_as(out))

    def mean(self, out: Tensor) -> Tensor:
        return out


class GaussianLearned(Likelihood):
    """Outputs are means, then ρ: σ = floor + softplus(ρ + b), b such that ρ = 0 gives the configuration's σ.

    Without the floor the density of a pixel that never changes grows without bound as its σ goes to 0.
    """

    outputs = 2

    def __init__(self, config: GenerativeConfig) -> None:
        super().__init__()
        if not 0 < config.sigma_floor < config.pixel_sigma:
            raise UserError(
                f"model.pixel_sigma = {config.pixel_sigma:g} is where σ begins and must be above model.sigma_floor = "
                f"{config.sigma_floor:g}, which must be above 0"
            )
        self.floor = config.sigma_floor
        self.offset = elbo.inverse_softplus(config.pixel_sigma - config.sigma_floor)

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        mu, rho = out.chunk(2, -1)
        return elbo.log_normal(x, mu, self.floor + elbo.softplus(rho + self.offset))

    def mean(self, out: Tensor) -> Tensor:
        return out.chunk(2, -1)[0]


CATALOGUE: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "gaussian_learned": GaussianLearned,
}


def binarized(x: Tensor, noise: Noise | None) -> Tensor:
    """Images [..., B, C, H, W] with every pixel 1 with its grey value as probability; noise None leaves them grey."""
    return x if noise is None else (noise.uniform(x.shape[-4:]) < x).to(x.dtype)
