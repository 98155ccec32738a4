"""The terms of a variational objective: free functions, nats per example, shape [..., B].

KL is summed over latent dimensions, likelihoods over pixels, cross-entropy over classes; nobody here averages
over the batch. σ is a standard deviation throughout, never a variance or a logarithm.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def kl_normal(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) for μ, σ of shape [..., B, Z]: ½ Σ (μ² + σ² − 1) − Σ log σ (Kingma & Welling 2014, B)."""
    out: Tensor = _KLNormal.apply(mu, sigma)
    return out


def kl_normal_each(mu: Tensor, sigma: Tensor) -> Tensor:
    """The summands of `kl_normal`, one a latent: [..., B, Z]."""
    return 0.5 * (mu * mu + sigma * sigma - 1) - sigma.log()


def free_bits(kl: Tensor, free: Tensor) -> Tensor:
    """Σ_j max(λ, E_batch KL_j) for KL [..., B, Z] and λ [...] in nats per latent, shared out over the batch: [..., B].

    Kingma et al. (2016), eq. 15: a latent whose mean KL over this batch is below λ gets no gradient. The maximum of
    each example's own KL_j, another reading, would also punish latents that only some images need.
    """
    free = free[..., None, None]
    return torch.where(kl.mean(-2, keepdim=True) > free, kl, free).sum(-1)


def log_normal(x: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """log N(x; μ, σ²) for [..., B, D], summed over D, all constants kept."""
    return (-0.5 * ((x - mu) / sigma).square() - sigma.log() - _HALF_LOG_TWO_PI).sum(-1)


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I) for z [..., B, Z], summed over Z."""
    return (-0.5 * z * z - _HALF_LOG_TWO_PI).sum(-1)


def iwae(log_weights: Tensor) -> Tensor:
    """log 1/K Σ exp(log w) over the first of [K, ...]: a lower bound of log p(x) (Burda et al. 2016, eq. 8)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def bits_per_dimension(log_p: Tensor, dimensions: int, levels: int = 255) -> Tensor:
    """−log₂ of the mass of one grey level per dimension, for log p(x) [..., B] in nats of images of `dimensions`.

    `levels` is 255 for a density on [0, 1], whose levels lie 1/255 apart, and 1 where p(x) is a mass already.
    Others add noise to x and count 256 levels; the two differ by log₂(256 / 255) = 0.006 bits.
    """
    return (math.log(levels) - log_p / dimensions) / math.log(2)


def half_square_norm(mu: Tensor) -> Tensor:
    """½‖μ‖² for μ [..., B, Z]: what the KL penalizes besides σ, and exactly it, up to a constant, where σ is fixed."""
    return 0.5 * (mu * mu).sum(-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """−log p(y) for logits [..., B, C] and integer targets [..., B]."""
    return -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: Tensor) -> Tensor:
    """Cross-entropy against (1 − ε)·one-hot + ε/C (Szegedy et al. 2016, §7); ε of shape [...], one a member."""
    log_p = logits.log_softmax(-1)
    hard = -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    epsilon = smoothing.unsqueeze(-1)
    return (1 - epsilon) * hard - epsilon * log_p.mean(-1)


def entropy(logits: Tensor) -> Tensor:
    """The entropy of softmax(logits) for logits [..., B, C] (the confidence penalty of Pereyra et al. 2017 is −λ·H)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def log_bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x) of independent Bernoulli pixels for x in [0, 1] and logits, both [..., B, D], summed over D.

    One function with its own derivative, because a chain of torch's costs twice as much.
    """
    out: Tensor = _LogBernoulli.apply(x, logits)
    return out


def inverse_softplus(y: float) -> float:
    """The x with log(1 + eˣ) = y, for y > 0."""
    return y + math.log(-math.expm1(-y))


def softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ) as max(x, 0) + log(1 + e^−|x|): absolute error below 1e-7.

    Not `torch.nn.functional.softplus`: its vectorised log1p is up to ten times slower on some CPUs, and its last bit,
    like that of `torch.sigmoid`, depends on where in the tensor a number stands, so on who trains beside whom.
    """
    out: Tensor = _Softplus.apply(x)
    return out


class _LogBernoulli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor) -> Tensor:
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(logits, x - _exp(-logits).add_(1).reciprocal_())
        linear = (x * logits).sub_(functional.relu(logits)).sum(-1)
        return linear.sub_(_sum_log(_exp(logits.abs().neg_()).add_(1)))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, slope = ctx.saved_tensors
        by_x, by_logits = ctx.needs_input_grad
        grad = grad.unsqueeze(-1)
        return grad * logits if by_x else None, grad * slope if by_logits else None


def _exp(x: Tensor) -> Tensor:
    """eˣ in place, for x of shape [..., B, D]; as a power of two, which on CPUs costs a quarter of torch's exp.

    Not where numbers are left over behind the last pair of vectors: torch's exp2 computes those another way, and a
    member's last bits must not depend on whether it is the last of a stack.
    """
    return x.exp_() if x.shape[-2:].numel() % 32 else x.mul_(1 / math.log(2)).exp2_()


def _sum_log(x: Tensor) -> Tensor:
    """Σ log x over the last dimension for x in [1, 2], through products of up to 64 numbers: logarithms cost more."""
    for _ in range(6):
        half, odd = divmod(x.shape[-1], 2)
        if odd:
            break
        x = x[..., :half] * x[..., half:]
    return x.log_().sum(-1)


class _KLNormal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mu: Tensor, sigma: Tensor) -> Tensor:
        ctx.save_for_backward(mu, sigma)
        return kl_normal_each(mu, sigma).sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        mu, sigma = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return grad * mu, grad * sigma.sub(sigma.reciprocal())


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs().neg_().exp_().add_(1).log_().add_(functional.relu(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return grad / x.neg().exp_().add_(1)
