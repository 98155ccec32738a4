"""Two paired datasets in one VAE: what each has for itself, and what both share."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from vaetune import likelihoods
from vaetune.bottlenecks import Code, Gaussian
from vaetune.errors import UserError
from vaetune.models.base import Generative, Task
from vaetune.models.configs import ConjointVAEConfig
from vaetune.networks import Decoder, Encoder
from vaetune.noise import Noise


class _Size(NamedTuple):
    latents: int
    initial_sigma: float


@final
class ConjointVAE(Generative):
    """−log p(x₁|u₁, s) − log p(x₂|u₂, s) + β·(KL(q(u₁|x₁)) + KL(q(u₂|x₂)) + KL(q(s|x₁, x₂))), all to N(0, I).

    An image holds a pair on its channels, the left one first (as of the dataset pairs:LEFT::RIGHT). z is u₁, s, u₂ in
    this order. Only s sees both images, and only what both can use is cheaper there than in each private part.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"reconstruct", "generate"})
    config: ConjointVAEConfig

    def __init__(self, config: ConjointVAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes)
        channels = (config.left_channels, shape[0] - config.left_channels)
        if min(channels) < 1:
            raise UserError(
                f"model.left_channels = {config.left_channels}: images of {shape[0]} channels are no pair of that; "
                "take a dataset such as pairs:mnist::rotated:mnist"
            )
        left, right = ((n, *shape[1:]) for n in channels)
        self.parts = (config.private, config.latents, config.private)
        self.latents = sum(self.parts)
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        private, shared = _Size(config.private, config.initial_sigma), _Size(config.latents, config.initial_sigma)
        self.left_encoder = Encoder(left, config.convolutions, config.hidden)
        self.right_encoder = Encoder(right, config.convolutions, config.hidden)
        self.q_left = Gaussian(self.left_encoder.outputs, private)
        self.q_shared = Gaussian(self.left_encoder.outputs + self.right_encoder.outputs, shared)
        self.q_right = Gaussian(self.right_encoder.outputs, private)
        seen, planes = config.private + config.latents, self.likelihood.outputs
        self.left_decoder = Decoder(seen, left, planes * left[0], config.convolutions, config.hidden[::-1])
        self.right_decoder = Decoder(seen, right, planes * right[0], config.convolutions, config.hidden[::-1])
        self.register_buffer("beta", torch.tensor(config.beta), persistent=False)

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        x_left, x_right = self._pair(x)
        h_left, h_right = self.left_encoder(x_left), self.right_encoder(x_right)
        codes = (
            self.q_left(h_left, noise),
            self.q_shared(torch.cat((h_left, h_right), -1), noise),
            self.q_right(h_right, noise),
        )
        z, mu, sigma = (torch.cat([code[i] for code in codes], -1) for i in range(3))
        return Code(z, mu, sigma, codes[0].penalty + codes[1].penalty + codes[2].penalty)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        means = [self.likelihood.mean(out) for out in self._outputs(z)]
        return torch.cat([mean.reshape(*mean.shape[:-1], -1, *self.shape[1:]) for mean in means], -3)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        left, right = (
            self.likelihood.log_prob(part.flatten(-3), out)
            for part, out in zip(self._pair(x), self._outputs(z), strict=True)
        )
        return left + right

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

    def transfer(self, x: Tensor, source: Tensor, steps: int) -> Tensor:
        """Left images of x [B, C, H, W] whose private part moves to that of `source`: [steps, B, left, H, W].

        The first is x reconstructed, the last has the source's private part (its background, say) and x's shared one;
        those between lie on the straight line of means.
        """
        here, there = self.code(x).mu, self.code(source).mu
        private = self.parts[0]
        images = []
        for step in torch.linspace(0, 1, steps, device=x.device):
            moved = torch.lerp(here[:, :private], there[:, :private], step)
            images.append(self.decode(torch.cat((moved, here[:, private:]), -1))[:, : self.config.left_channels])
        return torch.stack(images)

    def _pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = self.config.left_channels
        return x[..., :n, :, :], x[..., n:, :, :]

    def _outputs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        left, shared, right = torch.split(z, list(self.parts), -1)
        return self.left_decoder(torch.cat((left, shared), -1)), self.right_decoder(torch.cat((right, shared), -1))
