"""A VAE with a classifier that branches off its trunk: three losses share the trunk, each with its weight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from vaetune import elbo, likelihoods
from vaetune.bottlenecks import Code, Gaussian
from vaetune.models.base import Classifier, Generative
from vaetune.models.configs import BranchedVAEConfig
from vaetune.networks import MLP, Decoder, Encoder, Linear
from vaetune.noise import Noise


@final
class BranchedVAE(Classifier, Generative):
    """−r·log p(x|z) + β·KL(q(z|x) ‖ N(0, I)) − c·log p(y|h), h the trunk's features.

    The classifier never sees z: whether the generative task helps it is a question of shared features alone. Where it
    reads z instead it is the supervised VAE.
    """

    config: BranchedVAEConfig

    def __init__(self, config: BranchedVAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes)
        self.latents = config.latents
        self.likelihood = likelihoods.CATALOGUE[config.likelihood](config)
        self.trunk = Encoder(shape, config.convolutions, config.hidden)
        self.q_z = Gaussian(self.trunk.outputs, config)
        planes = self.likelihood.outputs * shape[0]
        self.decoder = Decoder(config.latents, shape, planes, config.convolutions, config.hidden[::-1])
        self.branch = MLP(self.trunk.outputs, config.branch)
        self.classifier = Linear(self.branch.outputs, classes)
        for name in ("reconstruction", "beta", "classification"):
            self.register_buffer(name, torch.tensor(getattr(config, name)), persistent=False)

    @property
    def stochastic(self) -> bool:
        return False

    def observed(self, x: Tensor, noise: Noise | None) -> Tensor:
        return likelihoods.binarized(x, noise) if self.config.binarize else x

    def code(self, x: Tensor, noise: Noise | None = None, y: Tensor | None = None) -> Code:
        code: Code = self.q_z(self.trunk(x), noise)
        return code

    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        return self._logits(self.trunk(x))

    def coded(self, x: Tensor) -> tuple[Tensor, Code]:
        h = self.trunk(x)
        return self._logits(h), self.q_z(h, None)

    def passes(self, x: Tensor, noise: Noise, count: int) -> Iterator[Tensor]:
        return itertools.repeat(self.predict(x), count)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean = self.likelihood.mean(self.decoder(z))
        return mean.reshape(*mean.shape[:-1], *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.likelihood.log_prob(x.flatten(-3), self.decoder(z))

    def log_weight(self, x: Tensor, y: Tensor | None, noise: Noise) -> Tensor:
        code = self.code(x, noise)
        return self.log_likelihood(x, code.z) + code.log_ratio()

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        x = self.observed(x, noise)
        h = self.trunk(x)
        code = self.q_z(h, noise)
        reconstruction = -self.log_likelihood(x, code.z)
        cross_entropy = elbo.cross_entropy(self._logits(h), y)
        weights = {name: self.get_buffer(name).unsqueeze(-1) for name in ("reconstruction", "beta", "classification")}
        loss = weights["reconstruction"] * reconstruction + penalty_scale * weights["beta"] * code.penalty
        loss = loss + weights["classification"] * cross_entropy
        terms = {"loss": loss, "elbo": -reconstruction - code.penalty, "reconstruction": reconstruction}
        return terms | {"kl": code.penalty, "cross_entropy": cross_entropy}

    def head_norm(self) -> Tensor:
        norm: Tensor = torch.linalg.matrix_norm(self.q_z.mu.weight)
        return norm

    def _logits(self, h: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.branch(h, None))
        return logits
