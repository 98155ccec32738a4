"""The ablation axis: what every bottleneck shares, and the one thing in which each differs."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaetune.bottlenecks import CATALOGUE, Bottleneck, Code
from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.noise import Noise
from vaetune.training import members

FEATURES, LATENTS, BATCH = 6, 4, 5
CONFIG = SupervisedVAEConfig(latents=LATENTS, sigma=0.3, initial_sigma=0.2, latent_dropout=0.4)
EXACT = {"rtol": 1e-6, "atol": 1e-6}


def built(name: str, seed: int = 0, config: SupervisedVAEConfig = CONFIG) -> Bottleneck:
    bottleneck = CATALOGUE[name](FEATURES, config)
    initialise(bottleneck, seed)
    return bottleneck


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, FEATURES, generator=torch.Generator().manual_seed(7))


def noise(seed: int = 3) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def epsilon() -> Tensor:
    return noise().normal((BATCH, LATENTS))


def mean(bottleneck: Bottleneck, h: Tensor) -> Tensor:
    return h @ bottleneck.mu.weight + bottleneck.mu.bias


def test_the_catalogue_is_what_a_configuration_may_name() -> None:
    assert tuple(CATALOGUE) == get_args(get_type_hints(SupervisedVAEConfig)["bottleneck"])


@pytest.mark.parametrize("name", CATALOGUE)
def test_without_noise_the_code_is_its_mean(name: str) -> None:
    bottleneck, h = built(name), features(BATCH)
    code = bottleneck(h, None)
    assert torch.equal(code.z, code.mu)
    assert code.z.shape == (BATCH, bottleneck.width)
    torch.testing.assert_close(code.mu[:, :LATENTS], mean(bottleneck, h))
    assert code.penalty is None or code.penalty.shape == (BATCH,)
    assert code.sigma is None or code.sigma.shape == code.mu.shape


@pytest.mark.parametrize("name", CATALOGUE)
def test_noise_moves_nothing_but_z(name: str) -> None:
    bottleneck, h = built(name), features(BATCH)
    quiet, noisy = bottleneck(h, None), bottleneck(h, noise())
    assert torch.equal(quiet.mu, noisy.mu)
    for a, b in ((quiet.sigma, noisy.sigma), (quiet.penalty, noisy.penalty)):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
    noiseless = name in ("deterministic", "deterministic_wide", "compression")
    assert torch.equal(noisy.z, quiet.z) == noiseless
    assert not noiseless or noisy.z is noisy.mu


def test_all_begin_with_the_same_mean_layer() -> None:
    layers = [built(name, seed=5).mu for name in CATALOGUE]
    for layer in layers[1:]:
        assert torch.equal(layer.weight, layers[0].weight)
        assert torch.equal(layer.bias, layers[0].bias)
    assert not torch.equal(built("gaussian", seed=6).mu.weight, layers[0].weight)


@pytest.mark.parametrize("name", ["fixed_noise", "fixed_noise_compression"])
def test_fixed_noise_has_the_sigma_of_the_configuration(name: str) -> None:
    bottleneck, h = built(name), features(BATCH)
    code = bottleneck(h, noise())
    torch.testing.assert_close(code.z, mean(bottleneck, h) + 0.3 * epsilon())
    assert code.sigma is not None
    assert code.sigma.unique().tolist() == [pytest.approx(0.3)]


@pytest.mark.parametrize("name", ["compression", "fixed_noise_compression"])
def test_compression_is_half_the_square_norm(name: str) -> None:
    bottleneck, h = built(name), features(BATCH)
    torch.testing.assert_close(bottleneck(h, noise()).penalty, 0.5 * mean(bottleneck, h).square().sum(-1))


@pytest.mark.parametrize("name", ["deterministic", "deterministic_wide", "fixed_noise", "gaussian_dropout"])
def test_the_others_have_no_penalty(name: str) -> None:
    assert built(name)(features(BATCH), noise()).penalty is None


def test_fixed_noise_with_compression_is_the_exact_kl_up_to_a_constant() -> None:
    code: Code = built("fixed_noise_compression")(features(BATCH), None)
    assert code.sigma is not None
    kl = kl_divergence(Normal(code.mu, code.sigma), Normal(0.0, 1.0)).sum(-1)
    constant = LATENTS * (0.5 * (0.3**2 - 1) - math.log(0.3))
    torch.testing.assert_close(kl - code.penalty, torch.full((BATCH,), constant))


def test_the_gaussian_pays_its_kl() -> None:
    bottleneck, h = built("gaussian"), features(BATCH)
    code = bottleneck(h, noise())
    rho = h @ bottleneck.rho.weight + bottleneck.rho.bias
    sigma = torch.nn.functional.softplus(rho + math.log(math.expm1(0.2))) + 1e-6
    torch.testing.assert_close(code.sigma, sigma, **EXACT)
    torch.testing.assert_close(code.z, mean(bottleneck, h) + sigma * epsilon(), **EXACT)
    torch.testing.assert_close(code.penalty, kl_divergence(Normal(code.mu, sigma), Normal(0.0, 1.0)).sum(-1))


@pytest.mark.parametrize("initial", [0.006715, 0.1, 1.0, 5.0])
def test_learned_sigma_begins_where_it_is_told(initial: float) -> None:
    bottleneck = built("gaussian", config=replace(CONFIG, initial_sigma=initial))
    torch.nn.init.zeros_(bottleneck.rho.weight)
    torch.nn.init.zeros_(bottleneck.rho.bias)
    assert bottleneck(features(BATCH), None).sigma.unique().tolist() == [pytest.approx(initial, abs=2e-6)]
    drawn = built("gaussian", config=replace(CONFIG, latents=200, initial_sigma=initial))(features(200), None)
    assert drawn.sigma.log().mean().exp().item() == pytest.approx(initial, rel=0.25)


def test_the_smallest_sigma_keeps_the_kl_finite() -> None:
    bottleneck = built("gaussian")
    torch.nn.init.constant_(bottleneck.rho.bias, -1e4)
    code = bottleneck(features(BATCH), noise())
    code.penalty.sum().backward()
    assert code.sigma.max() <= 1e-6
    assert code.penalty.isfinite().all()
    assert all(p.grad.isfinite().all() for p in bottleneck.parameters())


def test_gaussian_dropout_is_multiplicative() -> None:
    bottleneck, h = built("gaussian_dropout"), features(BATCH)
    code = bottleneck(h, noise())
    torch.testing.assert_close(code.z, mean(bottleneck, h) * (1 + (0.4 / 0.6) ** 0.5 * epsilon()), **EXACT)
    assert code.sigma is None


def test_a_larger_mean_buys_nothing_against_gaussian_dropout_and_outgrows_additive_noise() -> None:
    ratios = {}
    for name, scale in product(("fixed_noise", "gaussian_dropout"), (1.0, 100.0)):
        bottleneck = built(name)
        with torch.no_grad():
            bottleneck.mu.weight.mul_(scale)
            bottleneck.mu.bias.mul_(scale)
        code = bottleneck(features(BATCH), noise())
        ratios[name, scale] = ((code.z - code.mu).norm() / code.mu.norm()).item()
    assert ratios["gaussian_dropout", 100.0] == pytest.approx(ratios["gaussian_dropout", 1.0], rel=1e-4)
    assert ratios["fixed_noise", 100.0] == pytest.approx(ratios["fixed_noise", 1.0] / 100, rel=1e-2)


def test_the_wide_layer_has_the_numbers_of_both_heads() -> None:
    wide, gaussian, plain = built("deterministic_wide"), built("gaussian"), built("deterministic")
    count = {b: sum(p.numel() for p in b.parameters()) for b in (wide, gaussian, plain)}
    assert count[wide] == count[gaussian] == 2 * count[plain]
    assert (wide.width, gaussian.width, plain.width) == (2 * LATENTS, LATENTS, LATENTS)
    h = features(BATCH)
    expected = torch.cat((mean(wide, h), h @ wide.extra.weight + wide.extra.bias), -1)
    torch.testing.assert_close(wide(h, noise()).z, expected)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_parameter_has_a_gradient(name: str) -> None:
    bottleneck = built(name)
    code = bottleneck(features(BATCH), noise())
    loss = code.z.square().sum() + (code.penalty.sum() if code.penalty is not None else 0)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in bottleneck.parameters())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_member_has_numbers_of_its_own(name: str) -> None:
    configs = [replace(CONFIG, sigma=0.1, latent_dropout=0.2), replace(CONFIG, sigma=0.9, latent_dropout=0.7)]
    alone = [built(name, seed, config) for seed, config in enumerate(configs)]
    h = features(2, BATCH)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    together = members.stack(alone)(h, Noise(generators))
    for r, bottleneck in enumerate(alone):
        single = bottleneck(h[r], noise(r + 3))
        for a, b in zip(together, single, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a[r], b)


@pytest.mark.parametrize("name", ["gaussian_log", "gaussian_log_squared"])
def test_the_exponential_form_begins_at_the_configurations_sigma(name: str) -> None:
    bottleneck = built(name)
    with torch.no_grad():
        bottleneck.rho.weight.zero_()
        bottleneck.rho.bias.zero_()
    code = bottleneck(features(BATCH), noise())
    assert code.sigma.unique().tolist() == [pytest.approx(0.2)]
    torch.testing.assert_close(code.z, code.mu + 0.2 * epsilon())


def test_the_exponential_form_has_the_exact_kl() -> None:
    code = built("gaussian_log")(features(BATCH), None)
    kl = kl_divergence(Normal(code.mu, code.sigma), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(code.penalty, kl)


def test_the_misprinted_penalty_has_the_square_of_log_sigma() -> None:
    code = built("gaussian_log_squared")(features(BATCH), None)
    s = code.sigma.log()
    torch.testing.assert_close(code.penalty, -0.5 * (1 + s**2 - code.mu**2 - torch.exp(s**2)).sum(-1))
    assert not torch.allclose(code.penalty, built("gaussian_log")(features(BATCH), None).penalty)
