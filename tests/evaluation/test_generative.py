"""A generative replicate is measured by its bound, image by image; a linear model tells what the numbers must be."""

from __future__ import annotations

import math

import pytest
import torch

from vaetune.evaluation import generative
from vaetune.models.base import Generative, initialise
from vaetune.models.configs import AVBConfig, CVAEConfig, ModelConfig, VAEConfig

SHAPE = (1, 3, 3)


def built(config: ModelConfig) -> Generative:
    model = config.build(SHAPE, 3)
    initialise(model, 0)
    assert isinstance(model, Generative)
    return model


def split(n: int, seed: int) -> generative.Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, *SHAPE), generator=generator, dtype=torch.uint8)
    return images, torch.arange(n) % 3


def measured(model: Generative, validation: int = 5) -> tuple[dict[str, float], dict[str, object]]:
    found, (columns,) = generative.evaluate(
        model, split(12, 0), split(validation, 1), split(9, 2), 20, torch.Generator().manual_seed(0)
    )
    return found, columns


@pytest.mark.parametrize(
    "config",
    [
        VAEConfig(hidden=(8,), latents=2),
        CVAEConfig(hidden=(8,), latents=2, binarize=True),
        AVBConfig(hidden=(8,), latents=2, noise=2, posterior=(8,), discriminator=(8,), contrast_draws=4),
    ],
)
def test_metrics_and_columns_are_those_of_the_terms(config: ModelConfig) -> None:
    found, columns = measured(built(config))
    assert found["test/neg_elbo"] == pytest.approx(found["test/reconstruction"] + found["test/kl"], rel=1e-5)
    assert found["gap/neg_elbo"] == pytest.approx(found["test/neg_elbo"] - found["train/neg_elbo"])
    assert columns["elbo"].shape == (9,)  # type: ignore[attr-defined]
    assert -columns["elbo"].mean() == pytest.approx(found["test/neg_elbo"], rel=1e-5)  # type: ignore[attr-defined]
    assert columns["squared_error"].mean() == pytest.approx(found["test/squared_error"], rel=1e-5)  # type: ignore[attr-defined]
    assert not {"predicted", "correct", "log_loss", "confidence"} & columns.keys()
    assert "test/bits_per_dimension" not in found  # Bernoulli pixels have no density
    assert measured(built(config))[0] == found
    assert "val/neg_elbo" not in measured(built(config), validation=0)[0]


def test_iwae_is_tighter_and_the_squared_error_that_of_the_decoded_mean() -> None:
    model = built(VAEConfig(hidden=(8,), latents=2))
    found, _ = measured(model)
    assert found["test/neg_iwae"] < found["test/neg_elbo"]
    x, y = split(9, 2)
    x = x / 255
    with torch.inference_mode():
        expected = (model.decode(model.code(x, None, y).mu) - x).square().mean().item()
    assert found["test/squared_error"] == pytest.approx(expected, rel=1e-5)


def test_a_bound_that_is_not_finite_is_a_failure() -> None:
    model = built(VAEConfig(hidden=(8,), latents=2))
    with torch.no_grad():
        model.get_parameter("decoder.outputs.bias").fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        measured(model)


def test_bits_per_dimension_are_those_of_the_importance_weighted_bound() -> None:
    found, _ = measured(built(VAEConfig(hidden=(8,), latents=2, likelihood="gaussian_learned")))
    bits = found["test/neg_iwae"] / (9 * math.log(2)) + math.log2(255)
    assert found["test/bits_per_dimension"] == pytest.approx(bits, rel=1e-6)
