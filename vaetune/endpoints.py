"""What a study compares: its endpoint, a number of every replicate, mostly the mean of a loss of each test image."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`metric` is its column of the table replicates; printed numbers are `scale` times those of the tables.

    `name` and `plural` are what the report calls it, `unit` is that of differences and of the study's margin, `values`
    that of the numbers themselves. `loss` is the loss of each test image whose mean it is; "" where it is no such
    mean: inference is then over replicates alone. `task` is what a model must be able to do to have one.
    """

    metric: str
    name: str
    plural: str
    unit: str
    values: str
    definition: str
    scale: float = 1.0
    loss: Literal["", "error", "neg_elbo", "squared_error", "transfer_error", "neg_ais"] = ""
    direction: Literal["minimize", "maximize"] = "minimize"
    task: Literal["classify", "generate"] = "generate"


ERROR = Endpoint(
    metric="test/error",
    name="test error",
    plural="test errors",
    unit="points",
    values="%",
    definition="Share of test images that one pass at the posterior mean, dropout and noise off, gets wrong at the end "
    "of training.",
    scale=100.0,
    loss="error",
    task="classify",
)
NEG_ELBO = Endpoint(
    metric="test/neg_elbo",
    name="negative test ELBO",
    plural="negative test ELBOs",
    unit="nats per image",
    values="nats",
    definition="−log p(x|z) + KL in nats per test image at one draw of z, at full weight whatever β was trained with, "
    "at the end of training. Values of different likelihoods do not compare.",
    loss="neg_elbo",
)
SQUARED_ERROR = Endpoint(
    metric="test/squared_error",
    name="squared test error per pixel",
    plural="squared test errors per pixel",
    unit="× 10⁻³",
    values="× 10⁻³",
    definition="Mean over pixels in [0, 1] of the squared distance between a test image and what is decoded from its "
    "code without noise, at the end of training.",
    scale=1000.0,
    loss="squared_error",
)


NEG_AIS = Endpoint(
    metric="test/neg_ais",
    name="negative test log-likelihood",
    plural="negative test log-likelihoods",
    unit="nats per image",
    values="nats",
    definition="−log p(x) in nats per test image, of the first ones, by annealed importance sampling (Neal 2001): it "
    "is too high in expectation, never too low; at the end of training.",
    loss="neg_ais",
)
TRANSFER_ERROR = Endpoint(
    metric="test/transfer_error",
    name="squared transfer error per pixel",
    plural="squared transfer errors per pixel",
    unit="× 10⁻³",
    values="× 10⁻³",
    definition="Mean over pixels in [0, 1] of the squared distance between a left test image that got the private code "
    "of another one, and the image that really has the other's private part; at the end of training.",
    scale=1000.0,
    loss="transfer_error",
)


def _disentanglement(metric: str, name: str, definition: str) -> Endpoint:
    return Endpoint(
        metric=metric,
        name=name,
        plural=f"{name}s",
        unit="points",
        values="%",
        definition=definition,
        scale=100.0,
        direction="maximize",
    )


MIG = _disentanglement(
    "test/mig",
    "mutual information gap",
    "The gap between the two latents that know most of a factor, as a share of the factor's entropy, mean over factors "
    "(Chen et al. 2018), of posterior means of test images at the end of training.",
)
FACTOR_VAE = _disentanglement(
    "test/factor_vae",
    "FactorVAE score",
    "Share of groups of test images with one common factor of which the latent that varies least tells the factor (Kim "
    "& Mnih 2018), of posterior means at the end of training.",
)

CATALOGUE = {
    endpoint.metric: endpoint for endpoint in (ERROR, NEG_ELBO, SQUARED_ERROR, NEG_AIS, TRANSFER_ERROR, MIG, FACTOR_VAE)
}


def of(metric: str, tasks: Collection[str]) -> Endpoint:
    """The endpoint of that name, "" for the usual one of a model with those tasks; raises `UserError`."""
    from vaetune.errors import unknown

    if not metric:
        return NEG_ELBO if tasks and "classify" not in tasks else ERROR
    if metric not in CATALOGUE:
        raise unknown("endpoint", metric, CATALOGUE)
    return CATALOGUE[metric]
