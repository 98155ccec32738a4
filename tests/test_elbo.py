"""The terms of the objective against torch.distributions, torch's own losses and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence
from torch.nn import functional

from vaetune import elbo


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def positive(*shape: int, seed: int = 1) -> Tensor:
    return random(*shape, seed=seed).exp()


def test_kl_is_that_of_torch_distributions() -> None:
    mu, sigma = random(3, 5, 7).double(), positive(3, 5, 7).double()
    expected = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(elbo.kl_normal(mu, sigma), expected)


def test_kl_is_what_monte_carlo_finds() -> None:
    mu, sigma = random(4, 3).double(), positive(4, 3).double()
    q = Independent(Normal(mu, sigma), 1)
    z = mu + sigma * torch.randn(40_000, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    draws = q.log_prob(z) - Independent(Normal(torch.zeros(3), 1.0), 1).log_prob(z)
    assert ((draws.mean(0) - elbo.kl_normal(mu, sigma)).abs() < 4 * draws.std(0) / 200).all()


def test_kl_is_zero_at_the_prior_only() -> None:
    assert elbo.kl_normal(torch.zeros(2, 9), torch.ones(2, 9)).tolist() == [0, 0]
    assert (elbo.kl_normal(random(50, 3), positive(50, 3)) > 0).all()


def test_kl_stays_finite_for_the_smallest_sigma() -> None:
    sigma = torch.full((1, 4), 1e-6, requires_grad=True)
    kl = elbo.kl_normal(torch.zeros(1, 4), sigma)
    kl.sum().backward()
    assert kl.item() == pytest.approx(4 * (-0.5 + math.log(1e6)), rel=1e-6)
    assert sigma.grad is not None
    assert sigma.grad.isfinite().all()


@given(st.floats(0.01, 10.0))
def test_half_the_square_norm_is_the_kl_up_to_a_constant_where_sigma_is_fixed(sigma: float) -> None:
    mu = random(6, 5).double().requires_grad_()
    difference = elbo.kl_normal(mu, torch.full_like(mu, sigma)) - elbo.half_square_norm(mu)
    constant = 5 * (0.5 * (sigma**2 - 1) - math.log(sigma))
    torch.testing.assert_close(difference, torch.full_like(difference, constant))
    (gradient,) = torch.autograd.grad(difference.sum(), mu)
    torch.testing.assert_close(gradient, torch.zeros_like(mu), atol=1e-12, rtol=0)


def test_half_the_square_norm_is_summed_over_latents() -> None:
    assert elbo.half_square_norm(torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist() == [12.5, 2.0]


def test_cross_entropy_is_torchs() -> None:
    logits, y = random(3, 8, 5, scale=4), torch.randint(5, (3, 8), generator=torch.Generator().manual_seed(0))
    expected = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(3, 8)
    torch.testing.assert_close(elbo.cross_entropy(logits, y), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_smoothed_cross_entropy_is_torchs(smoothing: float) -> None:
    logits, y = random(8, 5, scale=4), torch.arange(8) % 5
    expected = functional.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(elbo.smoothed_cross_entropy(logits, y, torch.tensor(smoothing)), expected)


def test_every_member_has_its_own_smoothing() -> None:
    logits, y = random(2, 8, 5), torch.arange(16).view(2, 8) % 5
    both = elbo.smoothed_cross_entropy(logits, y, torch.tensor([0.1, 0.4]))
    for r, smoothing in enumerate((0.1, 0.4)):
        expected = functional.cross_entropy(logits[r], y[r], reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(both[r], expected)


def test_entropy_is_that_of_torch_distributions() -> None:
    logits = random(3, 8, 5, scale=3)
    torch.testing.assert_close(elbo.entropy(logits), Categorical(logits=logits).entropy())
    assert elbo.entropy(torch.zeros(1, 10)).item() == pytest.approx(math.log(10))
    assert elbo.entropy(torch.tensor([[200.0, 0.0]])).item() == 0


def bce(x: Tensor, logits: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_log_bernoulli_and_its_gradient_are_torchs(scale: float) -> None:
    x = torch.rand(2, 4, 50, generator=torch.Generator().manual_seed(0))
    mine, theirs = (random(2, 4, 50, scale=scale).requires_grad_() for _ in range(2))
    ours, expected = elbo.log_bernoulli(x, mine), -bce(x, theirs)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=50 * 2e-7)
    gradients = [torch.autograd.grad(term.sum(), at)[0] for term, at in ((ours, mine), (expected, theirs))]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("logit", [0.0, 20.0, 88.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pixel", [0.0, 0.25, 1.0])
def test_log_bernoulli_takes_extreme_logits(logit: float, sign: int, pixel: float) -> None:
    x = torch.full((1, 1), pixel)
    mine, theirs = (torch.full((1, 1), sign * logit, requires_grad=True) for _ in range(2))
    ours, expected = elbo.log_bernoulli(x, mine), -bce(x, theirs)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    gradients = [torch.autograd.grad(term.sum(), at)[0] for term, at in ((ours, mine), (expected, theirs))]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


def test_a_fair_coin_costs_log_two_a_pixel() -> None:
    assert elbo.log_bernoulli(torch.rand(1, 784), torch.zeros(1, 784)).item() == pytest.approx(-784 * math.log(2))


def test_softplus_errs_by_less_than_it_says() -> None:
    x = torch.cat([torch.linspace(-120, 120, 200_001), torch.tensor([-1e30, 1e30, 0.0])])
    exact = functional.softplus(x.double(), threshold=1e9)
    excess = (elbo.softplus(x) - exact).abs() - 6e-8 * exact
    assert excess.max() < 1e-7


def test_softplus_has_the_sigmoid_for_a_slope() -> None:
    x = torch.linspace(-120, 120, 20_001, requires_grad=True)
    (slope,) = torch.autograd.grad(elbo.softplus(x).sum(), x)
    torch.testing.assert_close(slope.double(), x.detach().double().sigmoid(), rtol=1e-6, atol=1e-37)


@given(count=st.integers(2, 40), at=st.integers(0, 200), seed=st.integers(0, 99))
def test_the_last_bit_of_softplus_does_not_depend_on_where_a_number_stands(count: int, at: int, seed: int) -> None:
    many = random(240, seed=seed, scale=5).requires_grad_()
    few = many.detach()[at : at + count].clone().requires_grad_()
    outs = elbo.softplus(many), elbo.softplus(few)
    assert torch.equal(outs[0][at : at + count], outs[1])
    slopes = [torch.autograd.grad(out.sum(), x)[0] for out, x in zip(outs, (many, few), strict=True)]
    assert torch.equal(slopes[0][at : at + count], slopes[1])


@given(st.floats(1e-300, 1e6))
def test_inverse_softplus_is_the_inverse(y: float) -> None:
    assert np.logaddexp(0, elbo.inverse_softplus(y)) == pytest.approx(y, rel=1e-9)


def test_log_normal_is_that_of_torch_distributions() -> None:
    x, mu, sigma = random(2, 4, 6), random(2, 4, 6, seed=1), positive(2, 4, 6)
    torch.testing.assert_close(elbo.log_normal(x, mu, sigma), Normal(mu, sigma).log_prob(x).sum(-1))
    torch.testing.assert_close(elbo.log_standard_normal(x), Normal(0.0, 1.0).log_prob(x).sum(-1))


def test_iwae_averages_weights_and_not_their_logarithms() -> None:
    weights = torch.tensor([[0.25, 1e-30], [0.75, 3e-30]], dtype=torch.double)
    torch.testing.assert_close(elbo.iwae(weights.log()).exp(), weights.mean(0))
    assert elbo.iwae(torch.full((5, 1), -2000.0)).item() == -2000


def test_uniform_pixels_cost_their_bits() -> None:
    # A density of 1 on [0, 1] gives each of 255 intervals the mass 1/255; a fair coin costs one bit.
    assert elbo.bits_per_dimension(torch.zeros(1), 784).item() == pytest.approx(math.log2(255))
    fair = torch.tensor([-784 * math.log(2)])
    assert elbo.bits_per_dimension(fair, 784, levels=1).item() == pytest.approx(1)


def test_nothing_is_averaged_over_the_batch() -> None:
    mu, sigma, logits, y = random(6, 3), positive(6, 3), random(6, 3, seed=2), torch.arange(6) % 3
    for term in (
        lambda i: elbo.kl_normal(mu[i], sigma[i]),
        lambda i: elbo.half_square_norm(mu[i]),
        lambda i: elbo.cross_entropy(logits[i], y[i]),
        lambda i: elbo.smoothed_cross_entropy(logits[i], y[i], torch.tensor(0.2)),
        lambda i: elbo.entropy(logits[i]),
        lambda i: elbo.log_bernoulli(sigma[i].clamp(max=1), logits[i]),
    ):
        whole = term(slice(None))
        assert whole.shape == (6,)
        torch.testing.assert_close(whole[2:4], term(slice(2, 4)))
