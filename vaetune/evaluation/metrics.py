"""Scores of predictions, as pure functions of tensors.

Logits and probabilities are [..., N, C], targets [..., N] (or [N], shared by all members); N is averaged away and
leading dimensions stay. Everything but the calibration error is summed up in float64. What is not a number stays not
a number: a diverged model has no error, rather than that of a constant guess.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_COLDEST, _HOTTEST = 0.05, 20.0
_NEWTON_STEPS = 16  # twelve were enough for 1,500 random problems, badly scaled ones among them


def error(logits: Tensor, y: Tensor) -> Tensor:
    """Share of examples whose largest logit is not the target's, in [0, 1]: [..., N, C], [..., N] -> [...]."""
    wrong = (logits.argmax(-1) != y).double()
    return wrong.where(~logits.isnan().any(-1), math.nan).mean(-1)


def nll(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats: [..., N, C], [..., N] -> [...]."""
    return -log_likelihood(logits, y).mean(-1)


def log_likelihood(logits: Tensor, y: Tensor) -> Tensor:
    """Log-probability of each example's target in nats: [..., N, C], [..., N] -> [..., N]."""
    return _at(logits.double().log_softmax(-1), y)


def brier(probabilities: Tensor, y: Tensor) -> Tensor:
    """Brier's score Σ_c (p_c − 1[c = y])², in [0, 2] (not halved, not divided by C): [..., N, C], [..., N] -> [...].

    Brier (1950), Verification of forecasts expressed in terms of probability, eq. 2.
    """
    p = probabilities.double()
    return (p.square().sum(-1) - 2 * _at(p, y) + 1).mean(-1)


def temperature(logits: Tensor, y: Tensor) -> Tensor:
    """The T in [0.05, 20] that minimises the NLL of logits / T: [..., N, C], [..., N] -> [...].

    Guo et al. (2017), On calibration of modern neural networks, section 4.2. The NLL is convex in 1 / T, so its slope
    there is monotone; Newton's method looks for the slope's root in log T, and bisects where a step would leave the
    bracket. Separable data end at the lower bound, data on which every temperature is as good at 1. The number of
    steps is fixed, so nothing waits for the device; NaN where the NLL itself is not finite.
    """
    z = logits.double()
    margins = z - _at(z, y).unsqueeze(-1)  # differences to the target's logit: no cancellation where they are large

    def slope_and_curvature(log_t: Tensor) -> tuple[Tensor, Tensor]:
        p = (margins * (-log_t).exp()[..., None, None]).softmax(-1)
        mean = (p * margins).sum(-1, keepdim=True)
        return mean.squeeze(-1).mean(-1), (p * (margins - mean).square()).sum(-1).mean(-1)

    unscaled = nll(logits, y)
    log_t = torch.zeros_like(unscaled)
    low, high = log_t + math.log(_COLDEST), log_t + math.log(_HOTTEST)
    coldest, hottest = slope_and_curvature(low)[0], slope_and_curvature(high)[0]
    for _ in range(_NEWTON_STEPS):
        slope, curvature = slope_and_curvature(log_t)
        low = torch.where(slope > 0, log_t, low)  # the slope is that in 1 / T: positive means too cold
        high = torch.where(slope < 0, log_t, high)
        newton = log_t + slope / (curvature * (-log_t).exp())
        inside = (newton >= low) & (newton <= high)  # equality is convergence
        log_t = torch.where(slope == 0, log_t, torch.where(inside, newton, (low + high) / 2))
    # Equality is an underflow, unless both slopes are zero: then every temperature is as good, and it stays 1.
    best = log_t.exp().where((coldest > 0) | (hottest >= 0), _COLDEST).where((hottest < 0) | (coldest <= 0), _HOTTEST)
    return best.where(unscaled.isfinite(), math.nan)


def nll_scaled(logits: Tensor, y: Tensor) -> Tensor:
    """NLL in nats at the best temperature for these same examples: [..., N, C], [..., N] -> [...]."""
    return nll(logits / temperature(logits, y)[..., None, None], y)


def ece(probabilities: Tensor, y: Tensor, bins: int = 15) -> Tensor:
    """Expected calibration error of the predicted class, in equally wide bins of confidence: [N, C], [N] -> [].

    Guo et al. (2017), eq. 3, to the bit as torchmetrics computes it (in float32, and with confidence 1 in a bin of its
    own), whose import would cost every worker more than all that it measures. Not a mean over examples, and biased
    upwards where bins hold few of them.
    """
    if not len(y) or probabilities.isnan().any():
        return torch.tensor(math.nan, dtype=torch.float64)
    p, predicted = probabilities.double().clamp(0, 1).max(-1)
    p = p.float()
    right = (predicted == y).float()
    place = torch.bucketize(p, torch.linspace(0, 1, bins + 1, device=p.device), right=True) - 1

    def total(x: Tensor) -> Tensor:
        return torch.zeros(bins + 1, device=p.device).scatter_add_(0, place, x)

    count = total(torch.ones_like(p))
    gap = (total(right) / count).nan_to_num() - (total(p) / count).nan_to_num()
    return torch.sum(gap.abs() * (count / count.sum()))


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Number of latents whose posterior mean varies over the data by more than `threshold`: [..., N, L] -> [...].

    Burda et al. (2016), Importance weighted autoencoders, section 5.1; the variance is that of the N examples.
    """
    return (mu.double().var(-2, correction=0) > threshold).sum(-1)


def rms(x: Tensor) -> Tensor:
    """Root of the mean square over examples and units: [..., N, L] -> [...]."""
    return x.double().square().mean((-2, -1)).sqrt()


def _at(x: Tensor, y: Tensor) -> Tensor:
    """The entries of x [..., N, C] at the targets [..., N]."""
    return x.gather(-1, y.long().expand(x.shape[:-1]).unsqueeze(-1)).squeeze(-1)
