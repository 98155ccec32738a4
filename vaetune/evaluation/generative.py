"""What is measured on a trained replicate that decodes: its bound of log p(x), image by image, and its pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.datasets.batches import unit
from vaetune.evaluation import metrics
from vaetune.evaluation.replicate import Split
from vaetune.models.base import Generative
from vaetune.noise import Noise

_BATCH = 1000


@torch.inference_mode()
def evaluate(
    model: Generative, train: Split, validation: Split, test: Split, samples: int, generator: torch.Generator
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The metrics of a replicate in nats per image, and its −ELBO on every test image as the table predictions has it.

    −ELBO is taken at one draw of z an image (and one of its pixels, where the model binarizes), β and warm-up aside;
    "test/neg_iwae" at `samples` draws, and of it "test/bits_per_dimension" of 8-bit images where the likelihood is a
    density. Likelihoods of different kinds do not compare: "test/squared_error", the mean over pixels of the squared
    distance between an image and what is decoded from its code without noise, does. Images, model and `generator` share
    a device; `validation` may be empty. Raises FloatingPointError where a bound is not finite: such a replicate has
    failed.
    """
    noise = Noise(generator)
    terms = _terms(model, test, noise)
    iwae, distances = -_iwae(model, test, samples, noise), _squared_errors(model, test)
    found: dict[str, Tensor] = {
        "test/neg_elbo": -terms["elbo"].mean(),
        "test/reconstruction": terms["reconstruction"].mean(),
        "test/kl": terms["kl"].mean(),
        "test/neg_iwae": iwae.mean(),
        "test/squared_error": distances.mean(),
        "train/neg_elbo": -_terms(model, train, noise)["elbo"].mean(),
        "rate/nats": terms["kl"].mean(),
    }
    found["gap/neg_elbo"] = found["test/neg_elbo"] - found["train/neg_elbo"]
    if model.likelihood.density:
        found["test/bits_per_dimension"] = elbo.bits_per_dimension(-iwae, math.prod(model.shape)).mean()
    if len(validation[1]):
        found["val/neg_elbo"] = -_terms(model, validation, noise)["elbo"].mean()
        found["val/squared_error"] = _squared_errors(model, validation).mean()
    mu = torch.cat([model.code(x, None, y).mu for x, y in _batches(test)])
    found |= {"latent/active_units": metrics.active_units(mu), "scale/mu_rms": metrics.rms(mu)}
    return {name: float(value) for name, value in found.items()}, [_columns(terms["elbo"], distances, test[1])]


def _terms(model: Generative, split: Split, noise: Noise) -> dict[str, Tensor]:
    parts = [model.terms(x, y, noise) for x, y in _batches(split)]
    terms = {name: torch.cat([part[name] for part in parts]).double() for name in ("elbo", "reconstruction", "kl")}
    if not terms["elbo"].isfinite().all():
        raise FloatingPointError("bounds are not finite")
    return terms


def _iwae(model: Generative, split: Split, samples: int, noise: Noise) -> Tensor:
    out = []
    for x, y in _batches(split):
        observed = model.observed(x, noise)
        out.append(elbo.iwae(torch.stack([model.log_weight(observed, y, noise).double() for _ in range(samples)])))
    return torch.cat(out)


def _squared_errors(model: Generative, split: Split) -> Tensor:
    """[N], the mean over pixels."""
    distances = [
        (model.decode(model.code(x, None, y).z, y) - x).double().square().mean((1, 2, 3)) for x, y in _batches(split)
    ]
    return torch.cat(distances)


def _batches(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in zip(*(part.split(_BATCH) for part in split), strict=True):
        yield unit(images), labels


def _columns(bound: Tensor, distances: Tensor, y: Tensor) -> dict[str, Any]:
    """Columns of the predictions table; what predicts no label leaves those of labels out."""
    return {
        "evaluation": "mean",
        "example": torch.arange(len(y), dtype=torch.int32).numpy(),
        "target": y.short().cpu().numpy(),
        "elbo": bound.float().cpu().numpy(),
        "squared_error": distances.float().cpu().numpy(),
    }
