"""What is measured on a trained classifier beside its scores: calibration curve, σ, information plane, memorisation.

Every function returns rows of the battery table: (metric, x, value), x None where the metric is one number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.evaluation import metrics
from vaetune.models.base import Classifier
from vaetune.noise import Noise

Row = tuple[str, float | None, float]

BINS = 15
SIGMAS = 10.0 ** torch.arange(-3.0, 1.01, 0.25, dtype=torch.float64)
"""Edges of the σ histogram, four to a decade; what lies beyond counts in the first or last bin."""

_BATCH = 1000


def default(logits: Tensor, y: Tensor, mu: Tensor, sigma: Tensor | None, pass_nll: Tensor) -> list[Row]:
    """The part that costs nothing beside the scores, on test images with labels y [N].

    `logits` [N, C] are those at the posterior mean, `mu` and `sigma` [N, Z] the codes; `pass_nll` is the mean NLL of
    single noisy passes, which the bound on I(Z; Y) is made of: the mean of log losses, not the loss of mean
    probabilities.
    """
    rows = reliability(logits.softmax(-1), y)
    rows.append(("latent/collapsed", None, float(metrics.active_units(mu) == 0)))
    if sigma is not None:
        rows += histogram(sigma)
        rows.append(("information/xz_at_most", None, float(elbo.kl_normal(mu.double(), sigma.double()).mean())))
    share = torch.bincount(y).double() / len(y)
    entropy = torch.special.entr(share).sum()
    rows.append(("information/zy_at_least", None, float(entropy - pass_nll)))
    rows.append(("information/zy_at_most", None, float(entropy)))
    return rows


def reliability(probabilities: Tensor, y: Tensor, bins: int = BINS) -> list[Row]:
    """Accuracy, mean confidence and share of the examples [N, C], [N] by bin of confidence; x is the bin's middle.

    Bins without examples have no row. The sum of share · |accuracy − confidence| is the calibration error of
    `metrics.ece`.
    """
    confidence, predicted = probabilities.double().max(-1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins).double()
    right = torch.bincount(place, (predicted == y).double(), minlength=bins)
    total = torch.bincount(place, confidence, minlength=bins)
    rows: list[Row] = []
    for i in count.nonzero().flatten().tolist():
        middle, n = (i + 0.5) / bins, float(count[i])
        rows.append(("reliability/accuracy", middle, float(right[i]) / n))
        rows.append(("reliability/confidence", middle, float(total[i]) / n))
        rows.append(("reliability/share", middle, n / len(y)))
    return rows


def histogram(sigma: Tensor) -> list[Row]:
    """The share of all σ [N, L] in bins equally wide in log σ; x is the bin's middle (geometric)."""
    edges = SIGMAS.to(sigma.device)
    place = torch.bucketize(sigma.double().flatten(), edges[1:-1])
    shares = torch.bincount(place, minlength=len(edges) - 1).double() / sigma.numel()
    middles = (edges[:-1] * edges[1:]).sqrt()
    return [("sigma/share", *pair) for pair in zip(middles.tolist(), shares.tolist(), strict=True)]


@torch.inference_mode()
def memorised(model: Classifier, x: Tensor, given: Tensor, true: Tensor) -> list[Row]:
    """What the model says of the training images whose label was replaced: the given one, or the true one.

    Images x [N, C, H, W] in [0, 1] with the labels that training saw, `given` [N], and the `true` ones. Nothing where
    no label was replaced. A model that learnt what generalises says the true label, one that memorised the given one.
    """
    replaced = given != true
    if not replaced.any():
        return []
    predicted = predict(model, x[replaced]).argmax(-1)
    shares = {"given": predicted == given[replaced], "true": predicted == true[replaced]}
    return [(f"memorised/{name}", None, float(hits.double().mean())) for name, hits in shares.items()]


def predict(model: Classifier, x: Tensor, noise: Noise | None = None) -> Tensor:
    """Logits [N, C] in float64, in batches."""
    return torch.cat([model.predict(part, noise).double() for part in torch.split(x, _BATCH)])


def averaged(model: Classifier, x: Tensor, samples: int, noise: Noise) -> Tensor:
    """Log-probabilities [N, C] of one pass, or of a noisy model's probabilities averaged over `samples` passes."""
    if not model.stochastic:
        return model.predict(x).log_softmax(-1)
    passes = torch.stack([logits.log_softmax(-1) for logits in model.passes(x, noise, samples)])
    return passes.logsumexp(0) - math.log(samples)
