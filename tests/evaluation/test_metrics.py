"""Each score on an ideal, a useless and a degenerate case, and against another library's number."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import sklearn.metrics
import torch
from torch import Tensor

from vaetune.evaluation import metrics

CLASSES = 7


@pytest.fixture
def problem() -> tuple[Tensor, Tensor]:
    """Logits that know something, three times too sure of it."""
    return random_problem(3)


def random_problem(seed: int, n: int = 400, classes: int = CLASSES, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=generator)
    evidence = torch.randn(n, classes, generator=generator) + 1.5 * one_hot(y, classes)
    return scale * evidence, y


def one_hot(y: Tensor, classes: int = CLASSES) -> Tensor:
    return torch.nn.functional.one_hot(y, classes).float()


IDEAL = torch.arange(CLASSES).repeat(3)


def test_ideal_predictions() -> None:
    logits = 1e4 * one_hot(IDEAL)
    assert metrics.error(logits, IDEAL) == 0
    assert metrics.nll(logits, IDEAL) == 0
    assert metrics.nll_scaled(logits, IDEAL) == 0
    assert metrics.brier(one_hot(IDEAL), IDEAL) == 0
    assert metrics.ece(one_hot(IDEAL), IDEAL) == 0


def test_useless_predictions() -> None:
    even = torch.zeros(len(IDEAL), CLASSES)
    assert metrics.error(even, IDEAL).item() == pytest.approx(1 - 1 / CLASSES)
    assert metrics.nll(even, IDEAL).item() == pytest.approx(math.log(CLASSES))
    assert metrics.nll_scaled(even, IDEAL).item() == pytest.approx(math.log(CLASSES))
    assert metrics.brier(even.softmax(-1), IDEAL).item() == pytest.approx(1 - 1 / CLASSES)
    assert metrics.ece(even.softmax(-1), IDEAL).item() == pytest.approx(0, abs=1e-6)


def test_confidently_wrong_predictions() -> None:
    wrong = one_hot((IDEAL + 1) % CLASSES)
    assert metrics.error(wrong, IDEAL) == 1
    assert metrics.nll(100 * wrong, IDEAL).item() == pytest.approx(100)
    assert metrics.brier(wrong, IDEAL) == 2
    assert metrics.ece(wrong, IDEAL) == 1


@pytest.mark.parametrize("score", [metrics.error, metrics.nll, metrics.brier, metrics.temperature, metrics.nll_scaled])
def test_nan_logits_have_no_score(score, problem: tuple[Tensor, Tensor]) -> None:
    logits, y = problem
    both = torch.stack([logits, logits])
    both[1, 5] = math.nan
    healthy, diverged = score(both, y)
    assert healthy == score(logits, y)
    assert diverged.isnan()


@pytest.mark.parametrize("score", [metrics.error, metrics.nll, metrics.brier, metrics.temperature, metrics.ece])
def test_no_examples_have_no_score(score) -> None:
    assert score(torch.zeros(0, CLASSES), torch.zeros(0, dtype=torch.int64)).isnan()


@pytest.mark.parametrize("score", [metrics.error, metrics.nll, metrics.temperature, metrics.nll_scaled, metrics.brier])
def test_members_in_front_score_as_if_alone(score) -> None:
    problems = [random_problem(seed, scale=scale) for seed, scale in ((0, 0.2), (1, 1.0), (2, 30.0))]
    together = score(torch.stack([z for z, _ in problems]), torch.stack([y for _, y in problems]))
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.stack([score(*p) for p in problems]), rtol=1e-12, atol=0)


def test_members_may_share_targets(problem: tuple[Tensor, Tensor]) -> None:
    logits, y = problem
    stacked = torch.stack([logits, -logits])
    torch.testing.assert_close(metrics.nll(stacked, y), metrics.nll(stacked, y.expand(2, -1)), rtol=0, atol=0)


def test_error_and_nll_against_sklearn(problem: tuple[Tensor, Tensor]) -> None:
    logits, y = problem
    probabilities = scipy.special.softmax(logits.double().numpy(), axis=1)
    expected = sklearn.metrics.log_loss(y.numpy(), probabilities, labels=range(CLASSES))
    assert metrics.nll(logits, y).item() == pytest.approx(expected, rel=1e-12)
    accuracy = sklearn.metrics.accuracy_score(y.numpy(), probabilities.argmax(1))
    assert metrics.error(logits, y).item() == pytest.approx(1 - accuracy, rel=1e-12)


def test_brier_against_sklearn(problem: tuple[Tensor, Tensor]) -> None:
    logits, y = problem
    p = logits.double().softmax(-1)
    expected = sum(sklearn.metrics.brier_score_loss((y == c).numpy(), p[:, c].numpy()) for c in range(CLASSES))
    assert metrics.brier(p, y).item() == pytest.approx(expected, rel=1e-12)


def test_ece_of_the_definition(problem: tuple[Tensor, Tensor]) -> None:
    logits, y = problem
    probabilities = logits.double().softmax(-1)
    confidence, predicted = (v.numpy() for v in probabilities.max(-1))
    bins = np.digitize(confidence, np.linspace(0, 1, 16)[1:-1])
    expected = 0.0
    for b in range(15):
        if (bins == b).any():
            gap = (predicted == y.numpy())[bins == b].mean() - confidence[bins == b].mean()
            expected += (bins == b).mean() * abs(gap)
    assert metrics.ece(probabilities, y).item() == pytest.approx(expected, abs=1e-6)
    assert expected > 0.1  # the logits are too sure: an ECE that always said 0 would fail


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 3.0, 40.0])
def test_ece_is_that_of_torchmetrics(scale: float) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, y = random_problem(12, scale=scale)
    probabilities = logits.double().softmax(-1)
    expected = multiclass_calibration_error(probabilities, y, num_classes=CLASSES, n_bins=15, norm="l1")
    assert metrics.ece(probabilities, y) == expected > 0


def test_ece_does_not_take_rounded_probabilities_for_logits() -> None:
    above = one_hot(IDEAL)
    above[0, 0] = 1.0000001
    assert metrics.ece(above, IDEAL) == 0


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 3.0, 40.0])
def test_temperature_against_scipy(scale: float) -> None:
    logits, y = random_problem(11, scale=scale)

    def loss(log_t: float) -> float:
        return metrics.nll(logits.double() / math.exp(log_t), y).item()

    best = scipy.optimize.minimize_scalar(
        loss, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-9}
    )
    found = metrics.temperature(logits, y)
    assert math.log(found) == pytest.approx(best.x, abs=1e-5)
    assert metrics.nll_scaled(logits, y).item() <= best.fun + 1e-12


def test_temperature_has_converged_on_badly_scaled_problems() -> None:
    """At an inner optimum the mean logit that softmax expects is the targets' mean logit."""
    generator = torch.Generator().manual_seed(0)
    inner = 0
    for seed in range(300):
        n, classes = 20 + seed, 2 + seed % 9
        evidence, y = random_problem(seed, n, classes, scale=1.0)
        strength = 1 + 5 * torch.rand(1, generator=generator)  # up to nearly separable
        logits = (evidence + strength * one_hot(y, classes)).double() * 10 ** (seed % 6 - 2)
        logits *= (2 * torch.randn(n, 1, generator=generator)).exp()
        t = metrics.temperature(logits, y)
        if 0.05 < t < 20:
            inner += 1
            margins = logits - logits.gather(1, y[:, None])
            terms = (margins / t).softmax(-1) * margins
            assert terms.sum(-1).mean().abs() < 1e-9 * terms.abs().sum(-1).mean(), seed
    assert inner > 30


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_separable_data_end_at_the_coldest_temperature(scale: float) -> None:
    logits = scale * one_hot(IDEAL)
    assert metrics.temperature(logits, IDEAL) == 0.05
    assert metrics.nll_scaled(logits, IDEAL) <= metrics.nll(logits, IDEAL)


def test_contradicted_logits_end_at_the_hottest_temperature() -> None:
    assert metrics.temperature(-one_hot(IDEAL), IDEAL) == 20


def test_where_no_temperature_helps_it_is_one() -> None:
    assert metrics.temperature(torch.zeros(len(IDEAL), CLASSES), IDEAL) == 1
    assert metrics.temperature(torch.zeros(len(IDEAL), 1), torch.zeros_like(IDEAL)) == 1


def test_a_recovered_temperature() -> None:
    """Labels drawn from softmax(logits) have temperature 1; three times those logits have three times that."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(20_000, CLASSES, generator=generator)
    y = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
    t = metrics.temperature(logits, y).item()
    assert t == pytest.approx(1, abs=0.03)
    assert metrics.temperature(3 * logits, y).item() == pytest.approx(3 * t, rel=1e-6)


def test_active_units() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.0, 0.05, 0.2, 3.0])  # standard deviations; the threshold is that of 0.1
    mu = 100 + spread * torch.randn(2000, 4, generator=generator)
    assert metrics.active_units(mu) == 2
    assert metrics.active_units(mu, threshold=1e-4) == 3
    assert metrics.active_units(torch.stack([mu, torch.zeros_like(mu)])).tolist() == [2, 0]
    assert metrics.active_units(mu[:1]) == 0


def test_rms() -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert metrics.rms(x).item() == pytest.approx(2.5)
    torch.testing.assert_close(metrics.rms(torch.stack([x, 2 * x])), torch.tensor([2.5, 5.0]).double())
    assert metrics.rms(torch.zeros(3, 2)) == 0


def test_trial_workers_are_spared_heavy_imports() -> None:
    code = (
        "import sys, torch; old = set(sys.modules); import vaetune.evaluation.metrics; print(*set(sys.modules) - old)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "vaetune" in loaded
    assert not loaded & {"torchmetrics", "torchvision", "sklearn", "scipy", "pandas", "ray", "optuna"}
