"""The supervised VAE of this project: encoder, bottleneck, classifier on the latent, optional decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.bottlenecks import CATALOGUE, Code
from vaetune.convolutions import ConvolutionStack
from vaetune.errors import UserError
from vaetune.models.base import Classifier, Player, Stage
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.networks import MLP, Decoder, Linear
from vaetune.noise import Noise


class SupervisedVAE(Classifier):
    """−log p(y|z) + β·penalty, and where a decoder is asked for − w·log p(x|z).

    With the Gaussian bottleneck it is the deep variational information bottleneck (Alemi et al. 2017, eq. 17);
    it is *not* the hyperspherical VAE that shares the abbreviation. In its two-stage form the decoder comes last, on
    the frozen encoder.
    """

    config: SupervisedVAEConfig

    def __init__(self, config: SupervisedVAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes, _stages(config))
        if (config.reconstruction or config.decoder_share) and config.decoder is None:
            raise UserError("model.reconstruction needs model.decoder, the decoder's hidden widths, e.g. [256, 256]")
        if config.reconstruction and config.decoder_share:
            raise UserError("model.reconstruction trains encoder and decoder together, model.decoder_share one by one")
        if config.decoder is not None and not config.reconstruction and not config.decoder_share:
            raise UserError(
                "model.decoder is never trained while model.reconstruction is 0: give it a weight or no decoder, or a "
                "share of the epochs with model.decoder_share"
            )
        self.convolutions = ConvolutionStack(shape, config.convolutions) if config.convolutions else None
        features = math.prod(self.convolutions.outputs if self.convolutions else shape)
        self.trunk = MLP(features, config.trunk, config.dropout)
        self.bottleneck = CATALOGUE[config.bottleneck](self.trunk.outputs, config)
        self.classifier = Linear(self.bottleneck.width, classes)
        if config.decoder is not None:
            self.decoder = Decoder(self.bottleneck.width, shape, shape[0], config.convolutions, config.decoder)
        for name in ("beta", "label_smoothing", "confidence_penalty", "logit_penalty", "reconstruction"):
            self.register_buffer(name, torch.tensor(getattr(config, name)), persistent=False)

    @property
    def stochastic(self) -> bool:
        still = ("deterministic", "deterministic_wide", "compression")
        return self.config.bottleneck not in still or self.config.dropout > 0

    def code(self, x: Tensor, noise: Noise | None = None) -> Code:
        code: Code = self.bottleneck(self.trunk(self._flat(x), noise), noise)
        return code

    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        logits: Tensor = self.classifier(self.code(x, noise).z)
        return logits

    def coded(self, x: Tensor) -> tuple[Tensor, Code]:
        code = self.code(x)
        return self.classifier(code.z), code

    def passes(self, x: Tensor, noise: Noise, count: int) -> Iterator[Tensor]:
        first = self.trunk.first(self._flat(x))
        code = None if self.config.dropout else self.bottleneck(self.trunk.onward(first, None), None)
        for _ in range(count):
            if code is None:
                z = self.bottleneck(self.trunk.onward(first, noise), noise).z
            else:
                z = self.bottleneck.redrawn(code, noise)
            yield self.classifier(z)

    def decode(self, z: Tensor) -> Tensor:
        """Bernoulli logits of the pixels [..., B, C·H·W] for latents [..., B, Z]."""
        logits: Tensor = self.decoder(z)
        return logits

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        config = self.config
        code = self.code(x, noise)
        logits = self.classifier(code.z)
        terms = {"cross_entropy": elbo.cross_entropy(logits, y)}
        loss = terms["cross_entropy"]
        if config.label_smoothing:
            loss = elbo.smoothed_cross_entropy(logits, y, self.get_buffer("label_smoothing"))
        if code.penalty is not None:
            terms["penalty"] = code.penalty
            loss = loss + penalty_scale * self._weighted("beta", code.penalty)
        if config.confidence_penalty:
            terms["entropy"] = elbo.entropy(logits)
            loss = loss - self._weighted("confidence_penalty", terms["entropy"])
        if config.logit_penalty:
            terms["logits_squared"] = logits.square().sum(-1)
            loss = loss + self._weighted("logit_penalty", terms["logits_squared"])
        if config.reconstruction:
            terms["reconstruction"] = -elbo.log_bernoulli(x.flatten(-3), self.decode(code.z))
            loss = loss + self._weighted("reconstruction", terms["reconstruction"])
        return {"loss": loss} | terms

    def decoder_terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        """What the decoder minimises when it trains alone: −log p(x|z), [..., B]."""
        with torch.no_grad():
            z = self.code(x, noise).z
        reconstruction = -elbo.log_bernoulli(x.flatten(-3), self.decode(z))
        return {"loss": reconstruction, "reconstruction": reconstruction}

    def head_norm(self) -> Tensor:
        norm: Tensor = torch.linalg.matrix_norm(self.bottleneck.mu.weight)
        return norm

    def _flat(self, x: Tensor) -> Tensor:
        return (x if self.convolutions is None else self.convolutions(x)).flatten(-3)

    def _weighted(self, name: str, term: Tensor) -> Tensor:
        return self.get_buffer(name).unsqueeze(-1) * term


def _stages(config: SupervisedVAEConfig) -> tuple[Stage, ...]:
    if not config.decoder_share:
        return (Stage(),)
    everything_else = Player("", ("convolutions", "trunk", "bottleneck", "classifier"))
    decoder = Player("decoder", ("decoder",), "decoder_terms")
    return (Stage(1 - config.decoder_share, (everything_else,)), Stage(config.decoder_share, (decoder,)))
