"""All that is measured on one trained replicate; the only place that looks at test images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.datasets.batches import Part, unit
from vaetune.evaluation import battery, metrics
from vaetune.evaluation.battery import Row
from vaetune.models.base import Classifier
from vaetune.noise import Noise

Split = tuple[Tensor | Part, Tensor]
"""Images, uint8 [N, C, H, W], of which there may be more than memory holds, and labels, int64 [N]."""

_BATCH = 1000


@torch.inference_mode()
def evaluate(
    model: Classifier,
    train: Split,
    validation: Split,
    test: Split,
    samples: int,
    generator: torch.Generator,
    temperature: float | None = None,
) -> tuple[dict[str, float], list[dict[str, Any]], list[Row]]:
    """The metrics of a replicate, its predictions on the test images as columns of the predictions table, and rows of
    the battery.

    Images, model and `generator` share a device. Predictions are those at the posterior mean, then, for a stochastic
    model, those of `samples` passes with noise drawn from `generator`, their probabilities averaged; a deterministic
    model's k-sample scores are its ordinary ones. Probabilities are scaled with the temperature that fits the
    validation images. A model that was fitted on these too comes with empty `validation` and a `temperature` found
    elsewhere; None then leaves the scaled scores out. Scales, rate and active units are those of the test images.

    Raises FloatingPointError where a prediction is not finite: such a replicate has failed.
    """
    found: dict[str, Tensor | float] = {}
    x, y = test
    logits, mu, sigma = _coded(model, x)
    if len(validation[1]):
        held_out = _predict(model, validation[0])
        found["val/error"] = metrics.error(held_out, validation[1])
        found["val/nll"] = metrics.nll(held_out, validation[1])
        found["val/nll_scaled"] = metrics.nll_scaled(held_out, validation[1])
        temperature = metrics.temperature(held_out, validation[1]).item()
    found |= _scores(logits, y)
    if temperature is not None:
        found["scale/temperature"] = temperature
        found["test/nll_scaled"] = metrics.nll(logits / temperature, y)
        found["test/ece_scaled"] = metrics.ece((logits / temperature).softmax(-1), y)
    predictions = [_columns("mean", logits, y)]
    averaged, pass_nll = logits, metrics.nll(logits, y)
    if model.stochastic:
        averaged, pass_nll = _sampled(model, x, y, samples, Noise(generator))
        predictions.append(_columns("k_sample", averaged, y))
    found["test/error_k"], found["test/nll_k"] = metrics.error(averaged, y), metrics.nll(averaged, y)
    fitted = _predict(model, train[0])
    for name, score in (("error", metrics.error), ("nll", metrics.nll)):
        found[f"train/{name}"] = score(fitted, train[1])
        found[f"gap/{name}"] = found[f"test/{name}"] - found[f"train/{name}"]
    found |= _latent(mu, sigma)
    found["scale/head_norm"] = model.head_norm()
    found["scale/logits_rms"] = metrics.rms(logits)
    rows = battery.default(logits, y, mu, sigma, pass_nll)
    return {name: float(value) for name, value in found.items()}, predictions, rows


def failed(classes: int) -> dict[str, float]:
    """The scores of a replicate that diverged: those of even odds on every class, wherever these are not flattering.

    Even odds have no calibration error and no gap; such columns stay empty.
    """
    chance, nats = (classes - 1) / classes, math.log(classes)
    named = {"error": chance, "nll": nats, "nll_scaled": nats}
    scores = {f"{split}/{name}": value for split in ("test", "val") for name, value in named.items()}
    return scores | {"test/error_k": chance, "test/nll_k": nats, "test/brier": chance}


def _scores(logits: Tensor, y: Tensor) -> dict[str, Tensor]:
    p = logits.softmax(-1)
    return {
        "test/error": metrics.error(logits, y),
        "test/nll": metrics.nll(logits, y),
        "test/brier": metrics.brier(p, y),
        "test/ece": metrics.ece(p, y),
    }


def _coded(model: Classifier, images: Tensor | Part) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits [N, C] at the posterior mean, μ and, where there is noise, σ [N, Z] of all images."""
    logits, codes = zip(*(model.coded(x) for x in _batches(images)), strict=True)
    sigmas = [code.sigma for code in codes if code.sigma is not None]
    mu, sigma = torch.cat([code.mu for code in codes]), torch.cat(sigmas) if sigmas else None
    return _finite(torch.cat(logits).double()), mu, sigma


def _latent(mu: Tensor, sigma: Tensor | None) -> dict[str, Tensor | float]:
    found: dict[str, Tensor | float] = {
        "scale/mu_rms": metrics.rms(mu),
        "latent/active_units": metrics.active_units(mu),
    }
    if sigma is not None:
        rate = elbo.kl_normal(mu.double(), sigma.double()).mean()
        found |= {"scale/sigma_rms": metrics.rms(sigma), "scale/snr": metrics.rms(mu / sigma)}
        found |= {"rate/nats": rate, "rate/bits": rate / math.log(2)}
    return found


def _sampled(model: Classifier, images: Tensor | Part, y: Tensor, samples: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """Logits [N, C] of the probabilities averaged over `samples` noisy passes, and the mean NLL of the single ones."""
    averaged, losses = [], []
    for x, part in zip(_batches(images), y.split(_BATCH), strict=True):  # type: ignore[no-untyped-call]
        passes = [logits.double().log_softmax(-1) for logits in model.passes(x, noise, samples)]
        # Summed as logarithms: a probability that underflows would make the loss infinite.
        averaged.append(torch.stack(passes).logsumexp(0))  # k times the average: the same logits but for a constant
        losses.append(torch.stack([metrics.log_likelihood(log_p, part) for log_p in passes]).mean(0))
    return _finite(torch.cat(averaged)), -torch.cat(losses).mean()


def _predict(model: Classifier, images: Tensor | Part) -> Tensor:
    return _finite(torch.cat([model.predict(x).double() for x in _batches(images)]))


def _finite(logits: Tensor) -> Tensor:
    if not logits.isfinite().all():
        raise FloatingPointError("predictions are not finite")
    return logits


def _batches(images: Tensor | Part) -> Iterator[Tensor]:
    for batch in images.split(_BATCH):
        yield unit(batch)


def _columns(evaluation: str, logits: Tensor, y: Tensor) -> dict[str, Any]:
    """The columns of the predictions table that are known here, as numpy arrays of its types."""
    confidence, predicted = logits.softmax(-1).max(-1)
    return {
        "evaluation": evaluation,
        "example": torch.arange(len(y), dtype=torch.int32).numpy(),
        "target": y.short().cpu().numpy(),
        "predicted": predicted.short().cpu().numpy(),
        "correct": (predicted == y).cpu().numpy(),
        "log_loss": (-metrics.log_likelihood(logits, y)).float().cpu().numpy(),
        "confidence": confidence.float().cpu().numpy(),
    }
