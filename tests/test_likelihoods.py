"""Likelihoods with all their constants, against torch.distributions and integrals."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaetune import elbo
from vaetune.errors import UserError
from vaetune.likelihoods import CATALOGUE
from vaetune.models.configs import VAEConfig


@pytest.mark.parametrize("name", ["gaussian", "gaussian_learned"])
def test_a_gaussian_density_integrates_to_one(name: str) -> None:
    likelihood = CATALOGUE[name](VAEConfig(pixel_sigma=0.3))
    x = torch.linspace(-8, 8, 20001, dtype=torch.float64)[:, None]
    out = torch.tensor([0.4, 0.2][: likelihood.outputs], dtype=torch.float64).expand(len(x), -1)
    assert torch.trapezoid(likelihood.log_prob(x, out).exp(), x[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_a_bernoulli_mass_sums_to_one() -> None:
    likelihood = CATALOGUE["bernoulli"](VAEConfig())
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    total = likelihood.log_prob(images, torch.tensor([0.3, -2.0, 5.0]).expand(8, 3)).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_members_have_a_sigma_of_their_own() -> None:
    likelihood = CATALOGUE["gaussian"](VAEConfig())
    likelihood.register_buffer("sigma", torch.tensor([0.1, 2.0]), persistent=False)
    generator = torch.Generator().manual_seed(0)
    x, out = torch.rand(2, 4, 6, generator=generator), torch.rand(2, 4, 6, generator=generator)
    for r, sigma in enumerate((0.1, 2.0)):
        expected = Independent(Normal(out[r], sigma), 1).log_prob(x[r])
        torch.testing.assert_close(likelihood.log_prob(x, out)[r], expected)


def test_learned_sigma_begins_where_it_is_told_and_ends_at_its_floor() -> None:
    config = VAEConfig(pixel_sigma=0.25)
    likelihood = CATALOGUE["gaussian_learned"](config)
    x = torch.full((1, 1), 0.5)
    at = [likelihood.log_prob(x, torch.tensor([[0.5, rho]])).item() for rho in (0.0, -1e4)]
    peak = [-math.log(sigma * math.sqrt(2 * math.pi)) for sigma in (0.25, config.sigma_floor)]
    assert at == pytest.approx(peak, rel=1e-5)


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.2])
def test_a_floor_that_leaves_no_room_is_refused(floor: float) -> None:
    with pytest.raises(UserError, match=r"model\.pixel_sigma = 0\.1"):
        CATALOGUE["gaussian_learned"](VAEConfig(pixel_sigma=0.1, sigma_floor=floor))


def test_constant_pixels_do_not_drive_learned_sigma_to_zero() -> None:
    """Adam on a pixel that never changes: the density ends at the floor's, finite, and so do the gradients."""
    likelihood = CATALOGUE["gaussian_learned"](VAEConfig())
    out = torch.tensor([[0.5, 0.0]], requires_grad=True)  # its mean is found; what is left is σ
    optimizer = torch.optim.Adam([out], lr=0.1)
    x = torch.full((1, 1), 0.5)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -likelihood.log_prob(x, out).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    bound = math.log(255 / math.sqrt(2 * math.pi))
    assert -bound - 1e-3 < loss.item() < -bound + 0.5
    assert out.isfinite().all()


def test_bits_per_dimension_of_known_codes() -> None:
    """A uniform density on [0, 1] codes 255 levels' spacings; a fair coin a pixel is one bit."""
    assert elbo.bits_per_dimension(torch.zeros(1), 12).item() == pytest.approx(math.log2(255))
    coin = elbo.log_bernoulli(torch.ones(1, 12), torch.zeros(1, 12))
    assert elbo.bits_per_dimension(coin, 12, levels=1).item() == pytest.approx(1)


def test_bits_per_dimension_approximate_the_mass_of_a_grey_level() -> None:
    mu, sigma, level = 0.4, 0.1, 100
    cell = Normal(mu, sigma).cdf(torch.tensor([level - 0.5, level + 0.5], dtype=torch.float64) / 255)
    log_p = elbo.log_normal(torch.tensor([[level / 255]]), torch.tensor([[mu]]), torch.tensor([[sigma]]))
    assert elbo.bits_per_dimension(log_p, 1).item() == pytest.approx(-torch.log2(cell[1] - cell[0]).item(), abs=1e-3)


def test_free_bits_are_the_maximum_of_the_batch_mean_and_pass_no_gradient_below() -> None:
    kl = torch.tensor([[0.1, 3.0], [0.3, 1.0]], requires_grad=True)
    shared = elbo.free_bits(kl, torch.tensor(0.5))
    assert shared.mean().item() == pytest.approx(0.5 + 2.0)
    shared.mean().backward()  # type: ignore[no-untyped-call]
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]


def test_free_bits_of_stacked_members_are_their_own() -> None:
    kl = torch.tensor([[[0.1], [0.3]], [[0.1], [0.3]]])
    assert elbo.free_bits(kl, torch.tensor([0.1, 1.0])).tolist() == [pytest.approx([0.1, 0.3]), [1.0, 1.0]]


def test_kl_summands_are_those_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(4, 3, generator=generator), torch.rand(4, 3, generator=generator) + 0.1
    torch.testing.assert_close(elbo.kl_normal_each(mu, sigma), kl_divergence(Normal(mu, sigma), Normal(0, 1)))


def test_iwae_of_equal_weights_is_their_value_and_tightens_with_k() -> None:
    assert elbo.iwae(torch.full((7, 2), -3.5)).tolist() == pytest.approx([-3.5, -3.5])
    draws = torch.randn(500, 400, generator=torch.Generator().manual_seed(0))  # log w ~ N(0, 1): log E w = ½
    bounds = [elbo.iwae(draws[:k]).mean().item() for k in (1, 10, 500)]
    assert bounds[0] < bounds[1] < bounds[2] < 0.5
    assert bounds[2] == pytest.approx(0.5, abs=0.02)
