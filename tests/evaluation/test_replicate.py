"""A replicate's metrics, on a fake whose every number is known and on the real model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from vaetune.bottlenecks import Code
from vaetune.evaluation import metrics, replicate
from vaetune.evaluation.replicate import Split
from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.models.supervised_vae import SupervisedVAE
from vaetune.noise import Noise
from vaetune.tables import SCHEMAS

CLASSES = 4
EMPTY = torch.zeros(0, 1, 2, 2, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)


class Fake:
    """Its logits are the four pixels, 0 or `height`; noise adds the next of two known offsets to the first."""

    def __init__(self, stochastic: bool = False, sigma: float | None = None, height: float = 2.0) -> None:
        self.stochastic = stochastic
        self.sigma = sigma
        self.height = height
        self.offsets = [1.0, -3.0]
        self.batches: list[int] = []

    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        self.batches.append(len(x))
        logits = self.height * x.flatten(-3)
        if noise is not None:
            logits[:, 0] += self.offsets[0]
            self.offsets.reverse()
        return logits

    def passes(self, x: Tensor, noise: Noise, count: int) -> Iterator[Tensor]:
        return (self.predict(x, noise) for _ in range(count))

    def coded(self, x: Tensor) -> tuple[Tensor, Code]:
        return self.predict(x), self.code(x)

    def code(self, x: Tensor, noise: Noise | None = None) -> Code:
        assert noise is None
        mu = x.flatten(-3)
        return Code(mu, mu, None if self.sigma is None else torch.full_like(mu, self.sigma), None)

    def head_norm(self) -> Tensor:
        return torch.tensor(3.5)


def split(n: int, wrong: int, seed: int = 0) -> Split:
    """Images with the one pixel lit that is the label's, but for the first `wrong`, where it is the next one."""
    y = torch.randint(CLASSES, (n,), generator=torch.Generator().manual_seed(seed))
    lit = torch.where(torch.arange(n) < wrong, (y + 1) % CLASSES, y)
    return (255 * torch.nn.functional.one_hot(lit, CLASSES)).to(torch.uint8).reshape(n, 1, 2, 2), y


TRAIN, VALIDATION, TEST = split(40, 2), split(50, 10), split(100, 30)


def evaluate(model, validation: Split = VALIDATION, test: Split = TEST, seed: int = 7, **options: float):
    generator = torch.Generator().manual_seed(seed)
    found, predictions, _ = replicate.evaluate(model, TRAIN, validation, test, 2, generator, **options)
    return found, predictions


def battery(model) -> dict[str, float]:
    """Its one-number metrics."""
    *_, rows = replicate.evaluate(model, TRAIN, VALIDATION, TEST, 2, torch.Generator().manual_seed(7))
    return {metric: value for metric, x, value in rows if x is None}


def test_scores_of_a_known_model() -> None:
    found, _ = evaluate(Fake())
    right, wrong = -math.log(math.exp(2) / (math.exp(2) + 3)), math.log(math.exp(2) + 3)
    assert found["train/error"] == pytest.approx(0.05)
    assert found["val/error"] == pytest.approx(0.2)
    assert found["test/error"] == pytest.approx(0.3)
    assert found["gap/error"] == pytest.approx(0.25)
    assert found["train/nll"] == pytest.approx(0.95 * right + 0.05 * wrong)
    assert found["test/nll"] == pytest.approx(0.7 * right + 0.3 * wrong)
    assert found["gap/nll"] == pytest.approx(0.25 * (wrong - right))
    confidence = math.exp(2) / (math.exp(2) + 3)
    assert found["test/ece"] == pytest.approx(abs(0.7 - confidence), abs=1e-6)
    # The T that fits the validation images makes the confidence their accuracy, 0.8: not that of the test images.
    assert found["scale/temperature"] == pytest.approx(2 / math.log(3 * 0.8 / 0.2))
    assert found["val/nll_scaled"] == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2 / 3)))
    assert found["test/nll_scaled"] == pytest.approx(-(0.7 * math.log(0.8) + 0.3 * math.log(0.2 / 3)))
    assert found["test/ece_scaled"] == pytest.approx(0.1, abs=1e-6)
    assert found["scale/head_norm"] == 3.5
    assert found["scale/logits_rms"] == pytest.approx(1)  # one in four is 2
    assert found["scale/mu_rms"] == pytest.approx(0.5)
    assert found["latent/active_units"] == 4


def test_a_deterministic_model_has_no_noise_metrics_and_one_evaluation() -> None:
    found, predictions = evaluate(Fake())
    assert found["test/error_k"] == found["test/error"]
    assert found["test/nll_k"] == found["test/nll"]
    assert [columns["evaluation"] for columns in predictions] == ["mean"]
    assert not {"rate/nats", "rate/bits", "scale/sigma_rms", "scale/snr"} & found.keys()


def test_samples_average_probabilities_not_logits() -> None:
    found, predictions = evaluate(Fake(stochastic=True))
    logits = 2 * TEST[0].flatten(1).double() / 255
    first, second = logits.clone(), logits.clone()
    first[:, 0] += 1
    second[:, 0] -= 3
    averaged = (first.softmax(-1) + second.softmax(-1)) / 2
    assert found["test/nll_k"] == pytest.approx(metrics.nll(averaged.log(), TEST[1]).item())
    assert found["test/error_k"] == pytest.approx(metrics.error(averaged, TEST[1]).item())
    assert found["test/nll_k"] != pytest.approx(metrics.nll((first + second) / 2, TEST[1]).item(), abs=1e-3)
    assert found["test/error"] == pytest.approx(0.3)  # that of the mean stays what it was
    mean, sampled = predictions
    assert (mean["evaluation"], sampled["evaluation"]) == ("mean", "k_sample")
    np.testing.assert_allclose(sampled["confidence"], averaged.max(-1).values, rtol=1e-6)


def test_the_bound_on_the_information_takes_the_mean_of_log_losses_not_the_loss_of_means() -> None:
    logits = 2 * TEST[0].flatten(1).double() / 255
    losses = []
    for offset in (1, -3):
        shifted = logits.clone()
        shifted[:, 0] += offset
        losses.append(metrics.nll(shifted, TEST[1]).item())
    found = battery(Fake(stochastic=True))
    assert found["information/zy_at_least"] == pytest.approx(found["information/zy_at_most"] - sum(losses) / 2)
    still = battery(Fake())
    assert still["information/zy_at_least"] == pytest.approx(
        still["information/zy_at_most"] - metrics.nll(logits, TEST[1]).item()
    )


def test_an_impossible_sample_does_not_make_the_loss_infinite() -> None:
    model = Fake(stochastic=True, height=0.0)
    model.offsets = [1e4, 1e4]
    found, _ = evaluate(model)
    assert math.isfinite(found["test/nll_k"])


OF_DECODERS = ("elbo", "squared_error", "transfer_error", "neg_ais")


def test_predictions_are_columns_of_the_table() -> None:
    images, y = TEST
    _, predictions = evaluate(Fake(stochastic=True))
    for columns in predictions:
        assert columns.keys() == set(SCHEMAS["predictions"].names) - {"replicate_id", *OF_DECODERS}
        for name in columns.keys() - {"evaluation"}:
            assert columns[name].dtype == SCHEMAS["predictions"].field(name).type.to_pandas_dtype(), name
            assert columns[name].shape == (100,)
    mean = predictions[0]
    np.testing.assert_array_equal(mean["example"], range(100))
    np.testing.assert_array_equal(mean["target"], y)
    np.testing.assert_array_equal(mean["predicted"], images.flatten(1).argmax(1))
    np.testing.assert_array_equal(mean["correct"], mean["target"] == mean["predicted"])
    found, _ = evaluate(Fake())
    assert mean["log_loss"].mean() == pytest.approx(found["test/nll"])


def test_rate_and_scales_of_known_noise() -> None:
    found, _ = evaluate(Fake(stochastic=True, sigma=0.5))
    per_latent = 0.5 * (0.25 + 0.25 - 1) - math.log(0.5)  # E μ² = ¼
    assert found["rate/nats"] == pytest.approx(4 * per_latent)
    assert found["rate/bits"] == pytest.approx(4 * per_latent / math.log(2))
    assert found["scale/sigma_rms"] == pytest.approx(0.5)
    assert found["scale/snr"] == pytest.approx(1.0)


def test_a_refitted_replicate_takes_its_temperature_from_elsewhere() -> None:
    scaled = {"scale/temperature", "test/nll_scaled", "test/ece_scaled"}
    given, _ = evaluate(Fake(), validation=EMPTY, temperature=1.7)
    assert given["scale/temperature"] == 1.7
    assert given["test/nll_scaled"] != given["test/nll"]
    without, _ = evaluate(Fake(), validation=EMPTY)
    assert given.keys() - without.keys() == scaled
    assert not any(name.startswith("val/") for name in given)
    own, _ = evaluate(Fake(), temperature=1.7)  # validation images have the last word
    assert own["scale/temperature"] != 1.7


def test_batches_bound_the_memory_and_change_nothing() -> None:
    test = split(2500, 500)
    model = Fake()
    found, predictions = evaluate(model, test=test)
    assert max(model.batches) == 1000
    assert found["test/error"] == pytest.approx(0.2)
    assert len(predictions[0]["example"]) == 2500


@pytest.mark.parametrize("height", [math.nan, math.inf])
def test_predictions_that_are_not_finite_are_no_result(height: float) -> None:
    with pytest.raises(FloatingPointError):
        evaluate(Fake(height=height))


def test_a_failed_replicate_scores_chance() -> None:
    found = replicate.failed(CLASSES)
    assert found["test/error"] == found["val/error"] == found["test/error_k"] == 0.75
    assert found["test/nll"] == found["test/nll_scaled"] == found["val/nll"] == math.log(4)
    assert found.keys() <= evaluate(Fake())[0].keys()
    assert not {"test/ece", "gap/error"} & found.keys()  # chance would look perfect there


BOTTLENECKS = ["deterministic", "deterministic_wide", "fixed_noise", "compression", "gaussian_dropout", "gaussian"]


def real(bottleneck: str, **options: float) -> SupervisedVAE:
    config = SupervisedVAEConfig(trunk=(16,), latents=5, bottleneck=bottleneck, **options)
    model = config.build((1, 2, 2), CLASSES)
    initialise(model, 0)
    return model


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_the_real_model_in_every_form(bottleneck: str) -> None:
    model = real(bottleneck, sigma=0.3, latent_dropout=0.4)
    found, predictions = evaluate(model)
    assert all(math.isfinite(value) for value in found.values())
    x, y = TEST
    assert found["test/error"] == metrics.error(model.predict(x.float() / 255), y)
    assert found["scale/head_norm"] == pytest.approx(model.bottleneck.mu.weight.norm().item())
    noisy = bottleneck in ("fixed_noise", "gaussian_dropout", "gaussian")
    assert len(predictions) == 1 + noisy
    assert (found["test/nll_k"] != found["test/nll"]) == noisy
    assert ("rate/nats" in found) == (bottleneck in ("fixed_noise", "gaussian"))


def test_mc_dropout_is_the_same_evaluation() -> None:
    found, predictions = evaluate(real("deterministic", dropout=0.5))
    assert [columns["evaluation"] for columns in predictions] == ["mean", "k_sample"]
    assert found["test/nll_k"] != found["test/nll"]


def test_the_generator_alone_decides_the_samples() -> None:
    first, second = (evaluate(real("gaussian", initial_sigma=1.0))[0] for _ in range(2))
    assert first == second
    third, _ = evaluate(real("gaussian", initial_sigma=1.0), seed=8)
    changed = {name for name in first if first[name] != third[name]}
    assert changed >= {"test/nll_k"}
    assert changed <= {"test/nll_k", "test/error_k"}


def test_the_rate_of_the_gaussian_layer_is_its_penalty() -> None:
    model = real("gaussian")
    x, _ = TEST
    penalty = model.code(x.float() / 255).penalty
    assert penalty is not None
    assert evaluate(model)[0]["rate/nats"] == pytest.approx(penalty.mean().item(), rel=1e-5)
