"""Every model's configuration, free of torch, so that a study is checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from vaetune.config import ModelConfig, per_member

if TYPE_CHECKING:
    from vaetune.models.supervised_vae import SupervisedVAE
    from vaetune.models.vae import VAE


@dataclass(frozen=True, kw_only=True)
class SupervisedVAEConfig(ModelConfig):
    """Encoder, bottleneck, classifier on the latent, optional decoder.

    `trunk` and `decoder` are hidden widths (`decoder` None: no decoder, no reconstruction term).
    `bottleneck` names the one of `vaetune.bottlenecks`; `beta` multiplies its penalty in nats per example;
    `sigma` is the fixed noise of the arms that do not learn it, `initial_sigma` where learned σ begins;
    `dropout` acts after every hidden layer of the trunk, `latent_dropout` is the rate p of multiplicative
    Gaussian noise of variance p / (1 − p) on the latent. The other numbers are weights of loss terms.
    """

    kind: ClassVar[str] = "supervised_vae"

    trunk: tuple[int, ...] = (256, 256)
    latents: int = 64
    bottleneck: Literal[
        "deterministic",
        "deterministic_wide",
        "fixed_noise",
        "compression",
        "fixed_noise_compression",
        "gaussian_dropout",
        "gaussian",
    ] = "deterministic"
    initial_sigma: float = 0.1
    sigma: float = per_member(0.1)
    beta: float = per_member(1.0)
    dropout: float = per_member(0.0)
    latent_dropout: float = per_member(0.0)
    label_smoothing: float = per_member(0.0)
    confidence_penalty: float = per_member(0.0)
    logit_penalty: float = per_member(0.0)
    decoder: tuple[int, ...] | None = None
    reconstruction: float = per_member(0.0)

    def build(self, shape: tuple[int, ...], classes: int) -> SupervisedVAE:
        """The model for images of `shape` (channels, height, width) in [0, 1] and labels below `classes`."""
        from vaetune.models.supervised_vae import SupervisedVAE

        return SupervisedVAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class VAEConfig(ModelConfig):
    """Encoder, Gaussian posterior, decoder; the default is the 784-400-20 network of many tutorials.

    `hidden` are the encoder's widths, the decoder's in reverse. `likelihood` names the one of `vaetune.likelihoods`;
    `pixel_sigma` is a Gaussian's σ where it is fixed and where it begins when learned, which it is down to
    `sigma_floor`, one grey level. `initial_sigma` is the posterior's. `beta` multiplies the KL in nats per image.
    """

    kind: ClassVar[str] = "vae"

    hidden: tuple[int, ...] = (400,)
    latents: int = 20
    likelihood: Literal["bernoulli", "gaussian", "gaussian_learned"] = "bernoulli"
    pixel_sigma: float = per_member(0.1)
    sigma_floor: float = 1 / 255
    initial_sigma: float = 1.0
    beta: float = per_member(1.0)

    def build(self, shape: tuple[int, ...], classes: int) -> VAE:
        """The model for images of `shape` (channels, height, width) in [0, 1]; labels are not used."""
        from vaetune.models.vae import VAE

        return VAE(self, shape, classes)


CATALOGUE: dict[str, type[ModelConfig]] = {config.kind: config for config in (SupervisedVAEConfig, VAEConfig)}
