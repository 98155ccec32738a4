"""Measures that only some data or studies allow: transfers, factors and annealed importance sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from vaetune.datasets.batches import Part, Resident
from vaetune.datasets.exchange import sources
from vaetune.evaluation import special
from vaetune.models.base import initialise
from vaetune.models.configs import ConjointVAEConfig, VAEConfig


def images(n: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_a_transfer_is_the_models_own_and_is_measured_against_the_truth() -> None:
    model = ConjointVAEConfig(hidden=(6,), latents=2, private=2).build((2, 3, 3), 3)
    initialise(model, 0)
    x, y, source = images(12, 2, 3, 3), torch.arange(12) % 3, sources(12)
    with torch.inference_mode():
        made = model.transfer(x / 255, x[source] / 255, 2)[-1]  # type: ignore[operator]
    truth = made.mul(255).round().byte()
    distance = (made - truth / 255).square().mean((1, 2, 3))
    for given in (x, Part(Resident(x), torch.arange(12))):
        found = special.transfer_errors(model, (given, y), truth.numpy())  # type: ignore[arg-type]
        torch.testing.assert_close(found.float(), distance, rtol=1e-3, atol=1e-7)
        assert special.transfer_errors(model, (given, y), 255 - truth.numpy()).min() > found.max()  # type: ignore[arg-type]


def test_ais_of_the_first_images_is_the_exact_likelihood_of_a_linear_model() -> None:
    model = VAEConfig(hidden=(), latents=2, likelihood="gaussian", pixel_sigma=0.4).build((1, 2, 2), 2)
    initialise(model, 3)
    x, y = images(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64)
    matrix, offset = (model.get_parameter(f"decoder.outputs.{name}").detach().double() for name in ("weight", "bias"))
    exact = MultivariateNormal(offset, matrix.T @ matrix + 0.16 * torch.eye(4, dtype=torch.float64))
    found = special.neg_ais(model, (Part(Resident(x), torch.arange(6)), y), 3, torch.Generator().manual_seed(0))
    assert found.shape == (3,)
    torch.testing.assert_close(found, -exact.log_prob(x[:3].flatten(1).double() / 255), rtol=0, atol=0.2)


def test_what_is_not_finite_is_a_failure() -> None:
    model = VAEConfig(hidden=(), latents=2).build((1, 2, 2), 2)
    initialise(model, 0)
    with torch.no_grad():
        model.get_parameter("decoder.outputs.bias").fill_(math.nan)
    with pytest.raises(FloatingPointError, match="annealed importance sampling is not finite"):
        special.neg_ais(
            model, (images(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)), 2, torch.Generator().manual_seed(0)
        )


def test_scores_of_disentanglement_are_those_of_the_codes() -> None:
    from vaetune.evaluation import disentanglement

    model = VAEConfig(hidden=(6,), latents=2).build((1, 2, 2), 2)
    initialise(model, 0)
    x, y = images(200, 1, 2, 2), torch.zeros(200, dtype=torch.int64)
    factors = np.stack([(x[:, 0, 0, 0] > 127).long().numpy(), np.arange(200) % 3], axis=1)
    with torch.inference_mode():
        codes = model.code(x / 255).mu.double().numpy()
    assert special.disentangled(model, (x, y), factors, 1) == pytest.approx(
        disentanglement.scores(codes, factors, 1), abs=0.02
    )
