"""Every model's configuration, free of torch, so that a study is checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from vaetune.config import ModelConfig, Task, per_member

if TYPE_CHECKING:
    from vaetune.models.avb import AVB
    from vaetune.models.branched_vae import BranchedVAE
    from vaetune.models.conjoint_avb import ConjointAVB
    from vaetune.models.conjoint_vae import ConjointVAE
    from vaetune.models.gaussian_vae import GaussianVAE
    from vaetune.models.supervised_vae import SupervisedVAE


@dataclass(frozen=True, kw_only=True)
class Convolutions:
    """A convolutional stack, one number a layer in each list; shapes are inferred, the decoder mirrors it.

    `normalisation` is batch normalisation before every ReLU of the encoder, "live" or "frozen" at its initial
    statistics; `statistics_kept` is the share of the running averages that each batch leaves.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    normalisation: Literal["none", "frozen", "live"] = "none"
    statistics_kept: float = 0.9


def halving(*channels: int) -> Convolutions:
    """Layers of kernel 4, stride 2, padding 1: each halves height and width."""
    n = len(channels)
    return Convolutions(channels=channels, kernels=(4,) * n, strides=(2,) * n, paddings=(1,) * n)


NETWORKS = {
    "conv28": halving(32, 64),
    "conv32": halving(32, 64, 128),
    "conv64": halving(32, 32, 64, 64),
    "conv128": halving(32, 32, 64, 64, 128),
}
"""Stacks by the side of the images they are for: 28 leaves 7x7, the others 4x4 (64 as in Burgess et al. 2018)."""


@dataclass(frozen=True, kw_only=True)
class SupervisedVAEConfig(ModelConfig):
    """Encoder, bottleneck, classifier on the latent, optional decoder.

    `trunk` and `decoder` are hidden widths (`decoder` None: no decoder, no reconstruction term); `convolutions`, where
    there are any, come before the trunk, and their mirror after the decoder. With a `decoder_share` the decoder trains
    alone in that share of the epochs, the last ones, on a frozen encoder; without, together with all else.
    `bottleneck` names the one of `vaetune.bottlenecks`; `beta` multiplies its penalty in nats per example;
    `sigma` is the fixed noise of the arms that do not learn it, `initial_sigma` where learned σ begins;
    `dropout` acts after every hidden layer of the trunk, `latent_dropout` is the rate p of multiplicative
    Gaussian noise of variance p / (1 − p) on the latent. The other numbers are weights of loss terms.
    """

    kind: ClassVar[str] = "supervised_vae"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classify", "reconstruct"})

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
        "gaussian_log",
        "gaussian_log_squared",
    ] = "deterministic"
    initial_sigma: float = 0.1
    sigma: float = per_member(0.1)
    beta: float = per_member(1.0)
    dropout: float = per_member(0.0)
    latent_dropout: float = per_member(0.0)
    label_smoothing: float = per_member(0.0)
    confidence_penalty: float = per_member(0.0)
    logit_penalty: float = per_member(0.0)
    convolutions: Convolutions | None = None
    decoder: tuple[int, ...] | None = None
    decoder_share: float = 0.0
    reconstruction: float = per_member(0.0)

    def build(self, shape: tuple[int, ...], classes: int) -> SupervisedVAE:
        """The model for images of `shape` (channels, height, width) in [0, 1] and labels below `classes`."""
        from vaetune.models.supervised_vae import SupervisedVAE

        return SupervisedVAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class GenerativeConfig(ModelConfig):
    """What every model with a decoder says about it.

    The encoder is `convolutions` (None: none), then hidden layers of the widths `hidden`; the decoder mirrors both.
    `likelihood` names the one of `vaetune.likelihoods`; `pixel_sigma` is a Gaussian's σ where it is fixed, and where
    it begins when it is learned for every pixel, which it is down to `sigma_floor` (one grey level).
    `binarize` draws every pixel anew, as 0 or 1 with its grey value as probability, each time an image is seen
    (Salakhutdinov & Murray 2008); for one fixed draw an image take the dataset binarized:NAME.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"reconstruct", "generate"})

    convolutions: Convolutions | None = None
    hidden: tuple[int, ...] = (400,)
    latents: int = 20
    likelihood: Literal["bernoulli", "gaussian", "gaussian_learned"] = "bernoulli"
    pixel_sigma: float = per_member(0.1)
    sigma_floor: float = 1 / 255
    binarize: bool = False


@dataclass(frozen=True, kw_only=True)
class VAEConfig(GenerativeConfig):
    """Gaussian posterior and prior; the default is the 784-400-20 network of many tutorials.

    `initial_sigma` is where the posterior's σ begins. `beta` multiplies the KL in nats per image (Higgins et al. 2017).
    With a `capacity` C, in nats, it multiplies |KL − C| (Burgess et al. 2018, eq. 8) and `training.penalty_warmup`
    raises C from 0 instead of β. `free_bits` are nats per latent that cost nothing (Kingma et al. 2016, eq. 15).
    """

    kind: ClassVar[str] = "vae"

    initial_sigma: float = 1.0
    kl: Literal["analytic", "monte_carlo"] = "analytic"
    beta: float = per_member(1.0)
    capacity: float = per_member(0.0)
    free_bits: float = per_member(0.0)

    def build(self, shape: tuple[int, ...], classes: int) -> GaussianVAE:
        """The model for images of `shape` (channels, height, width) in [0, 1]; labels are not used."""
        from vaetune.models.vae import VAE

        return VAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class CVAEConfig(VAEConfig):
    """A VAE whose encoder and decoder are told the label (Sohn et al. 2015)."""

    kind: ClassVar[str] = "cvae"

    def build(self, shape: tuple[int, ...], classes: int) -> GaussianVAE:
        """The model for images of `shape` (channels, height, width) in [0, 1] and labels below `classes`."""
        from vaetune.models.cvae import CVAE

        return CVAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class BranchedVAEConfig(GenerativeConfig):
    """One trunk, a Gaussian latent with its decoder, and a classifier that branches off the trunk, not off the latent.

    `branch` are the classifier's hidden widths; `reconstruction`, `beta` and `classification` weigh −log p(x|z), the
    KL and the cross-entropy, each in nats per image.
    """

    kind: ClassVar[str] = "branched_vae"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classify", "reconstruct", "generate"})

    branch: tuple[int, ...] = ()
    initial_sigma: float = 1.0
    reconstruction: float = per_member(1.0)
    beta: float = per_member(1.0)
    classification: float = per_member(1.0)

    def build(self, shape: tuple[int, ...], classes: int) -> BranchedVAE:
        """The model for images of `shape` (channels, height, width) in [0, 1] and labels below `classes`."""
        from vaetune.models.branched_vae import BranchedVAE

        return BranchedVAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig(GenerativeConfig):
    """An implicit posterior, and a discriminator for its KL (Mescheder et al. 2017).

    The encoder's features meet `noise` standard normal numbers by `injection`; hidden layers of the widths `posterior`
    and a linear one make z of both. `discriminator` are the discriminator's widths; it takes `discriminator_steps` on
    every batch before encoder and decoder take one, at `discriminator_rate` times the learning rate.
    `adaptive_contrast` compares q(z|x) with the Gaussian of its own moments, from `contrast_draws` draws.
    """

    noise: int = 16
    injection: Literal["concatenation", "addition", "product"] = "concatenation"
    posterior: tuple[int, ...] = (256,)
    discriminator: tuple[int, ...] = (256, 256)
    discriminator_steps: int = 1
    discriminator_rate: float = 1.0
    adaptive_contrast: bool = True
    contrast_draws: int = 16
    beta: float = per_member(1.0)


@dataclass(frozen=True, kw_only=True)
class AVBConfig(AdversarialConfig):
    """Adversarial variational Bayes, by default with adaptive contrast."""

    kind: ClassVar[str] = "avb"

    def build(self, shape: tuple[int, ...], classes: int) -> AVB:
        """The model for images of `shape` (channels, height, width) in [0, 1]; labels are not used."""
        from vaetune.models.avb import AVB

        return AVB(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class ConjointVAEConfig(GenerativeConfig):
    """Paired images on their channels, the first `left_channels` the left one's: a latent for each and one for both.

    `private` latents belong to each image alone, `latents` to the pair. `beta` multiplies the sum of their KLs.
    """

    kind: ClassVar[str] = "conjoint_vae"

    left_channels: int = 1
    private: int = 10
    initial_sigma: float = 1.0
    beta: float = per_member(1.0)

    def build(self, shape: tuple[int, ...], classes: int) -> ConjointVAE:
        """The model for pairs of `shape` (both images' channels, height, width) in [0, 1]; labels are not used."""
        from vaetune.models.conjoint_vae import ConjointVAE

        return ConjointVAE(self, shape, classes)


@dataclass(frozen=True, kw_only=True)
class ConjointAVBConfig(AdversarialConfig):
    """Paired images as of `ConjointVAEConfig`, with three implicit posteriors; each gets `noise` numbers of its own."""

    kind: ClassVar[str] = "conjoint_avb"

    left_channels: int = 1
    private: int = 10

    def build(self, shape: tuple[int, ...], classes: int) -> ConjointAVB:
        """The model for pairs of `shape` (both images' channels, height, width) in [0, 1]; labels are not used."""
        from vaetune.models.conjoint_avb import ConjointAVB

        return ConjointAVB(self, shape, classes)


_ALL = (
    SupervisedVAEConfig,
    VAEConfig,
    CVAEConfig,
    BranchedVAEConfig,
    AVBConfig,
    ConjointVAEConfig,
    ConjointAVBConfig,
)
CATALOGUE: dict[str, type[ModelConfig]] = {config.kind: config for config in _ALL}
