"""What models of paired datasets share: two encoders, two decoders, and a latent in three parts."""

from __future__ import annotations

import torch
from torch import Tensor

from vaetune import likelihoods
from vaetune.errors import UserError
from vaetune.models.base import Generative, Stage
from vaetune.models.configs import ConjointAVBConfig, ConjointVAEConfig
from vaetune.networks import Decoder, Encoder
from vaetune.noise import Noise


class Conjoint(Generative):
    """p(x₁|u₁, s)·p(x₂|u₂, s), z being u₁, s, u₂ in this order, all N(0, I) before an image is seen.

    An image holds a pair on its channels, the left one first (as of the dataset pairs:LEFT::RIGHT). Only s sees both
    images, and only what both can use is cheaper there than in each private part. Nothing in the bound asks that a
    private code means the same whatever is shared, though: with more latents than the private part needs, it may mean
    another thing beside every s, and a transfer then fails though all is reconstructed. Take few.
    """

    config: ConjointVAEConfig | ConjointAVBConfig

    def __init__(
        self,
        config: ConjointVAEConfig | ConjointAVBConfig,
        shape: tuple[int, ...],
        classes: int,
        stages: tuple[Stage, ...] = (Stage(),),
    ) -> None:
        super().__init__(config, shape, classes, stages)
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
        self.left_encoder = Encoder(left, config.convolutions, config.hidden)
        self.right_encoder = Encoder(right, config.convolutions, config.hidden)
        seen, planes = config.private + config.latents, self.likelihood.outputs
        self.left_decoder = Decoder(seen, left, planes * left[0], config.convolutions, config.hidden[::-1])
        self.right_decoder = Decoder(seen, right, planes * right[0], config.convolutions, config.hidden[::-1])
        self.register_buffer("beta", torch.tensor(config.beta), persistent=False)

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        means = [self.likelihood.mean(out) for out in self._outputs(z)]
        return torch.cat([mean.reshape(*mean.shape[:-1], -1, *self.shape[1:]) for mean in means], -3)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        left, right = (
            self.likelihood.log_prob(part.flatten(-3), out)
            for part, out in zip(self.pair(x), self._outputs(z), strict=True)
        )
        return left + right

    def transfer(self, x: Tensor, source: Tensor, steps: int) -> Tensor:
        """Left images of x [B, C, H, W] whose private part moves to that of `source`: [steps, B, left, H, W].

        The first is x reconstructed, the last has the source's private part (its background, say) and x's shared one;
        those between lie on the straight line of codes without noise.
        """
        here, there = self.code(x).mu, self.code(source).mu
        private = self.parts[0]
        images = []
        for step in torch.linspace(0, 1, steps, device=x.device):
            moved = torch.lerp(here[:, :private], there[:, :private], step)
            images.append(self.decode(torch.cat((moved, here[:, private:]), -1))[:, : self.config.left_channels])
        return torch.stack(images)

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The left and the right images of pairs."""
        n = self.config.left_channels
        return x[..., :n, :, :], x[..., n:, :, :]

    def _outputs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        left, shared, right = torch.split(z, list(self.parts), -1)
        return self.left_decoder(torch.cat((left, shared), -1)), self.right_decoder(torch.cat((right, shared), -1))
