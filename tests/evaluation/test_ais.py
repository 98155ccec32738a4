"""AIS and IWAE against a linear-Gaussian model, whose likelihood is known: x ~ N(b, W Wᵀ + σ² I)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vaetune import elbo
from vaetune.evaluation.ais import ais
from vaetune.models.base import Generative, initialise
from vaetune.models.configs import VAEConfig
from vaetune.noise import Noise

SIGMA = 0.5


def linear() -> tuple[Generative, Tensor, Tensor]:
    """A VAE without hidden layers and its exact log p(x) on draws from itself."""
    model = VAEConfig(hidden=(), latents=2, likelihood="gaussian", pixel_sigma=SIGMA).build((1, 2, 3), 2)
    initialise(model, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        weight, bias = model.decoder.outputs.weight, model.decoder.outputs.bias
        z = torch.randn(6, 2, generator=generator)
        x = z @ weight + bias + SIGMA * torch.randn(6, 6, generator=generator)
        exact = MultivariateNormal(bias, weight.T @ weight + SIGMA**2 * torch.eye(6)).log_prob(x)
    return model, x.reshape(6, 1, 2, 3), exact


def test_ais_finds_the_likelihood_of_a_linear_gaussian_model() -> None:
    model, x, exact = linear()
    found = ais(model, x, chains=64, temperatures=300, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.float(), exact, atol=0.06, rtol=0)


def test_ais_improves_with_its_steps() -> None:
    """Two temperatures are importance sampling from the prior; more must come closer."""
    model, x, exact = linear()
    errors = []
    for temperatures in (2, 200):
        found = ais(model, x, chains=4, temperatures=temperatures, generator=torch.Generator().manual_seed(0))
        errors.append((found.float() - exact).abs().mean().item())
    assert errors[1] < 0.5 * errors[0]


def test_iwae_rises_to_the_likelihood_from_below() -> None:
    model, x, exact = linear()
    noise = Noise(torch.Generator().manual_seed(0))
    with torch.inference_mode():
        repeated = x.repeat(1000, 1, 1, 1)
        weights = torch.cat([model.log_weight(repeated, None, noise).unflatten(0, (1000, 6)) for _ in range(20)])
    single, ten = weights.mean(0), torch.stack([elbo.iwae(part) for part in weights.split(10)]).mean(0)
    assert (single < ten).all()
    assert (ten < exact).all()
    torch.testing.assert_close(elbo.iwae(weights), exact, atol=0.05, rtol=0)


def test_ais_repeats_itself() -> None:
    model, x, _ = linear()
    first, second = (ais(model, x, temperatures=5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (6,)
    assert first.dtype == torch.float64
    assert first.mean().item() != pytest.approx(0)
