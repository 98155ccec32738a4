"""Which likelihood of the decoder gives the best reconstructions: Bernoulli, a Gaussian of fixed σ or of learned σ?

Six arms: each likelihood in a VAE and, told the label, in a CVAE. Values of different likelihoods do not compare, so
the endpoint is the squared error per pixel of what is decoded from an image's code without noise. Beside it stand the
bounds, and bits per dimension of the two Gaussians, which do compare: both are densities of the same 8-bit images.

    python -m vaetune.study decoder_likelihood                     fashion_mini, half an hour on 2 cores
    python -m vaetune.study decoder_likelihood --preset smoke      digits, below a minute: does everything work?
    python -m vaetune.study decoder_likelihood --preset mnist      convolutions on all of MNIST, for GPUs
    python -m vaetune.study decoder_likelihood --preset cifar10    convolutions on CIFAR10, for GPUs

A fixed σ weighs the reconstruction against the KL like a β: it is searched, as is where the learned σ begins, and a
small one buys small errors with more nats. Expect `fixed` ahead of both for that reason alone. Measured with the smoke
preset only (8 epochs, two trials an arm: it says that everything works, no more), in thousandths: Bernoulli 129, fixed
72, learned 114 for the VAE, 138, 96 and 97 for the CVAE. The larger presets have been planned, not run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vaetune.config import to_json
from vaetune.models.configs import NETWORKS, CVAEConfig, VAEConfig
from vaetune.study import Arm, Budget, Comparison, DatasetConfig, Objective, Replication, Space, Study
from vaetune.study.ranges import both, choice, log


def shared(epochs: tuple[int, ...]) -> Space:
    """What every arm searches, over the identical ranges."""
    return both(log("training.learning_rate", 3e-4, 1e-2), choice("training.epochs", epochs))


def sigma(trial: Any) -> Mapping[str, Any]:
    """The σ of every pixel, from three grey levels on, or where it begins when it is learned."""
    return {"model.pixel_sigma": trial.suggest_float("pixel_sigma", 0.012, 1.0, log=True)}


def arms(hidden: tuple[int, ...], latents: int, network: str | None) -> tuple[Arm, ...]:
    """Three likelihoods without and with the label."""
    convolutions = NETWORKS[network] if network else None
    told = {"model": to_json(CVAEConfig(convolutions=convolutions, hidden=hidden, latents=latents))}
    likelihoods = {
        "bernoulli": ("a Bernoulli for every pixel", {}),
        "fixed": ("a Gaussian of one σ for all pixels", {"model.likelihood": "gaussian"}),
        "learned": ("a Gaussian whose σ the decoder gives pixel by pixel", {"model.likelihood": "gaussian_learned"}),
    }
    return tuple(
        Arm(
            name=f"{kind}_{name}",
            summary=f"{what} in a {kind.upper()}",
            overrides=before | override,
            space=(lambda trial: {}) if name == "bernoulli" else sigma,
            contains_plain=kind == "vae" and name == "bernoulli",
        )
        for kind, before in (("vae", {}), ("cvae", told))
        for name, (what, override) in likelihoods.items()
    )


COMPARISONS = (
    Comparison(
        name="vae: learned − fixed",
        question="Does a σ for every pixel reconstruct better than one for all?",
        weights=(("vae_learned", 1), ("vae_fixed", -1)),
    ),
    Comparison(
        name="vae: fixed − bernoulli",
        question="Does a Gaussian reconstruct grey images better than a Bernoulli?",
        weights=(("vae_fixed", 1), ("vae_bernoulli", -1)),
    ),
    Comparison(
        name="cvae − vae",
        question="Does the label help the reconstruction, in the mean over likelihoods?",
        weights=tuple(
            (f"{kind}_{name}", sign / 3)
            for kind, sign in (("cvae", 1), ("vae", -1))
            for name in ("bernoulli", "fixed", "learned")
        ),
    ),
)

DEFAULT = Study(
    name="decoder_likelihood",
    hypothesis="A learned σ reconstructs no better than the best fixed one, and both better than a Bernoulli.",
    arms=arms((256,), 16, None),
    comparisons=COMPARISONS,
    dataset=DatasetConfig(name="fashion_mini", n_validation=1000),
    model=VAEConfig(hidden=(256,), latents=16),
    space=shared(epochs=(15, 30)),
    objective=Objective(metric="val/squared_error", unit="", tie="val/kl"),
    endpoint="test/squared_error",
    budget=Budget(trials=8, audit=3, grace=3, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=8),
    margin=0.5,
)

SMOKE = replace(
    DEFAULT,
    arms=arms((32,), 6, None),
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=VAEConfig(hidden=(32,), latents=6),
    space=shared(epochs=(5, 8)),
    budget=Budget(trials=2, audit=1, grace=3, reduction=3, top_k=1, reseeds=1),
    replication=Replication(n=7, samples=4),
)

MNIST = replace(
    DEFAULT,
    arms=arms((256,), 32, "conv28"),
    dataset=DatasetConfig(name="mnist", n_validation=5_000),
    model=VAEConfig(convolutions=NETWORKS["conv28"], hidden=(256,), latents=32),
    space=shared(epochs=(20, 40)),
    budget=Budget(trials=12, audit=4, grace=3, reduction=3, top_k=2, reseeds=2),
)

CIFAR10 = replace(
    MNIST,
    arms=arms((256,), 128, "conv32"),
    dataset=DatasetConfig(name="cifar10", n_validation=5_000),
    model=VAEConfig(convolutions=NETWORKS["conv32"], hidden=(256,), latents=128),
)

PRESETS = {"smoke": SMOKE, "default": DEFAULT, "mnist": MNIST, "cifar10": CIFAR10}
