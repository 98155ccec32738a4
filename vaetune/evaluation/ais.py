"""log p(x) of decoder models by annealed importance sampling (Neal 2001), as Wu et al. (2017) use it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaetune import elbo
from vaetune.models.base import Generative


def ais(
    model: Generative,
    x: Tensor,
    y: Tensor | None = None,
    *,
    chains: int = 16,
    temperatures: int = 500,
    leapfrogs: int = 10,
    generator: torch.Generator,
) -> Tensor:
    """Estimates of log p(x) = log ∫ N(z; 0, I) p(x|z) dz for images x [B, C, H, W] as the model observes them.

    [B] in nats; too low in expectation, never too high. Between the prior and the posterior lie `temperatures` steps on
    a sigmoid schedule; each is a Hamiltonian transition of so many `leapfrogs`, whose step size every chain tunes to an
    acceptance of 65 % (Neal 2011, §5.4.4). The weights of `chains` are averaged.
    """
    x = x.repeat(chains, 1, 1, 1)
    y = None if y is None else y.repeat(chains)

    def log_likelihood(z: Tensor) -> Tensor:
        return model.log_likelihood(x, z, y)

    device = generator.device
    draw = {"generator": generator, "device": device}
    schedule = torch.linspace(-4, 4, temperatures + 1, device=device).sigmoid()
    schedule = (schedule - schedule[0]) / (schedule[-1] - schedule[0])
    z = torch.randn(len(x), model.latents, **draw)  # type: ignore[call-overload]
    log_weight = torch.zeros(len(x), dtype=torch.float64, device=device)
    step = torch.full((len(x), 1), 0.1, device=device)
    for before, after in itertools.pairwise(schedule):
        with torch.no_grad():
            log_weight += ((after - before) * log_likelihood(z)).double()

        def energy(z: Tensor, temperature: Tensor = after) -> Tensor:
            return -elbo.log_standard_normal(z) - temperature * log_likelihood(z)

        start = torch.randn(z.shape, **draw)  # type: ignore[call-overload]
        # Of random length, or a trajectory could come back to where it began, time and again.
        length = step * (0.5 + torch.rand(step.shape, **draw))  # type: ignore[call-overload]
        moved, momentum = _leapfrog(energy, z, start, length, leapfrogs)
        with torch.no_grad():
            change = energy(z) - energy(moved) + 0.5 * (start.square() - momentum.square()).sum(-1)
            accepted = torch.rand(change.shape, **draw).log() < change  # type: ignore[call-overload]
            z = torch.where(accepted.unsqueeze(-1), moved, z)
            # Up and down balance at an acceptance of 65 %.
            factor = torch.where(accepted, 1.02, 1.02 ** (-0.65 / 0.35))
            step = (step * factor.unsqueeze(-1)).clamp(1e-4, 1.0)
    return log_weight.reshape(chains, -1).logsumexp(0) - math.log(chains)


def _leapfrog(
    energy: Callable[[Tensor], Tensor], z: Tensor, momentum: Tensor, step: Tensor, leapfrogs: int
) -> tuple[Tensor, Tensor]:
    """Position and momentum after so many leapfrog steps of the Hamiltonian `energy`(z) + ½‖momentum‖²."""
    momentum = momentum - 0.5 * step * _gradient(energy, z)
    for i in range(leapfrogs):
        z = z + step * momentum
        momentum = momentum - (1.0 if i < leapfrogs - 1 else 0.5) * step * _gradient(energy, z)
    return z, momentum


def _gradient(energy: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(leaf).sum(), leaf)
    return gradient
