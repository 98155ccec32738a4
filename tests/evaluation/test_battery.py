"""The battery on models whose every number is known: an ideal, a useless and a degenerate one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vaetune.bottlenecks import Code
from vaetune.evaluation import battery, metrics, outliers
from vaetune.evaluation.battery import SIGMAS, Row
from vaetune.noise import Noise

CLASSES = 4


class Fake:
    """Its logits are `height` times the four pixels; noise adds a standard normal draw to each; σ is constant."""

    def __init__(
        self, height: float = 20.0, sigma: float | None = None, width: float = 1.0, noisy: float = 0.0
    ) -> None:
        self.height, self.sigma, self.width, self.noisy = height, sigma, width, noisy
        self.stochastic = noisy > 0

    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        logits = self.height * x.flatten(-3)
        return logits if noise is None else logits + self.noisy * noise.normal(logits.shape)

    def code(self, x: Tensor, noise: Noise | None = None) -> Code:
        mu = self.width * x.flatten(-3)
        return Code(mu, mu, None if self.sigma is None else torch.full_like(mu, self.sigma), None)


def lit(y: Tensor) -> Tensor:
    """Images with one pixel lit: that of the label."""
    return torch.nn.functional.one_hot(y, CLASSES).float().reshape(-1, 1, 2, 2)


Y = torch.arange(400) % CLASSES
X = lit(Y)


def rows(model: Fake, y: Tensor = Y, pass_nll: Tensor | None = None) -> dict[str, float]:
    logits, code = model.predict(X).double(), model.code(X)
    return named(
        battery.default(logits, y, code.mu, code.sigma, metrics.nll(logits, y) if pass_nll is None else pass_nll)
    )


def named(found: list[Row]) -> dict[str, float]:
    return {metric: value for metric, x, value in found if x is None}


def curve(found: list[Row], metric: str) -> dict[float, float]:
    return {x: value for name, x, value in found if name == metric and x is not None}


def test_the_reliability_curve_adds_up_to_the_calibration_error() -> None:
    generator = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(2000, CLASSES, generator=generator)).softmax(-1)
    y = torch.randint(CLASSES, (2000,), generator=generator)
    found = battery.reliability(p, y)
    accuracy, confidence, share = (curve(found, f"reliability/{name}") for name in ("accuracy", "confidence", "share"))
    assert sum(share.values()) == pytest.approx(1)
    assert sum(share[x] * accuracy[x] for x in share) == pytest.approx((p.argmax(-1) == y).double().mean().item())
    error = sum(share[x] * abs(accuracy[x] - confidence[x]) for x in share)
    assert error == pytest.approx(metrics.ece(p, y).item(), abs=1e-5)
    assert all(abs(confidence[x] - x) <= 0.5 / 15 + 1e-9 for x in share)


def test_certain_and_even_predictions_fill_one_bin() -> None:
    certain = battery.reliability(torch.eye(4), torch.arange(4))
    assert curve(certain, "reliability/accuracy") == {14.5 / 15: 1.0}
    even = battery.reliability(torch.full((8, 4), 0.25), torch.arange(8) % 4)
    assert curve(even, "reliability/share") == {3.5 / 15: 1.0}
    assert curve(even, "reliability/accuracy") == {3.5 / 15: 0.25}


def test_the_histogram_counts_every_sigma_once() -> None:
    sigma = torch.tensor([[1e-6, 0.11, 0.12, 1e9]])
    found = curve(battery.histogram(sigma), "sigma/share")
    assert len(found) == len(SIGMAS) - 1
    assert sum(found.values()) == 1
    shares = list(found.values())
    assert shares[0] == shares[-1] == 0.25  # beyond the edges: in the outermost bins
    (middle,) = (x for x, value in found.items() if value == 0.5)
    assert 0.1 < middle < 0.1778


def test_the_information_plane_of_an_ideal_a_useless_and_a_degenerate_model() -> None:
    ideal = rows(Fake(height=200.0))
    assert ideal["information/zy_at_least"] == pytest.approx(math.log(4), abs=1e-6)
    assert ideal["information/zy_at_most"] == pytest.approx(math.log(4))
    assert "information/xz_at_most" not in ideal  # without noise the information is not bounded by a rate
    useless = rows(Fake(height=0.0))
    assert useless["information/zy_at_least"] == pytest.approx(0, abs=1e-6)
    degenerate = rows(Fake(), y=torch.zeros_like(Y))  # one class only: nothing to know
    assert degenerate["information/zy_at_most"] == 0
    assert degenerate["information/zy_at_least"] < 0  # a bound, no estimate


def test_the_rate_bounds_what_a_noisy_latent_can_carry() -> None:
    found = rows(Fake(sigma=0.5))
    assert found["information/xz_at_most"] == pytest.approx(4 * (0.5 * (0.25 + 0.25 - 1) - math.log(0.5)))


def test_the_bound_is_the_labels_entropy_less_the_loss_of_single_passes() -> None:
    found = rows(Fake(), pass_nll=torch.tensor(0.5))
    assert found["information/zy_at_least"] == pytest.approx(math.log(4) - 0.5)


def test_the_collapse_flag() -> None:
    assert rows(Fake())["latent/collapsed"] == 0
    assert rows(Fake(width=0.0, sigma=1.0))["latent/collapsed"] == 1


def test_memorised_labels() -> None:
    given = Y.clone()
    given[:100] = (Y[:100] + 1) % CLASSES
    honest = named(battery.memorised(Fake(), X, given, Y))  # type: ignore[arg-type]
    assert honest == {"memorised/given": 0, "memorised/true": 1}
    parrot = named(battery.memorised(Fake(), lit(given), given, Y))  # type: ignore[arg-type]
    assert parrot == {"memorised/given": 1, "memorised/true": 0}
    assert battery.memorised(Fake(), X, Y, Y) == []  # type: ignore[arg-type]


def test_auroc_and_fpr95_of_ideal_useless_and_equal_scores() -> None:
    known, other = torch.arange(100.0), torch.arange(100.0) + 1000
    assert (outliers.auroc(known, other), outliers.fpr95(known, other)) == (1.0, 0.0)
    assert (outliers.auroc(other, known), outliers.fpr95(other, known)) == (0.0, 1.0)
    same = torch.zeros(50)
    assert (outliers.auroc(same, same), outliers.fpr95(same, same)) == (0.5, 1.0)
    assert outliers.fpr95(known, torch.tensor([94.0, 94.5, 95.5, 96.0])) == 0.5  # 95 of 100 lie at 94 or below
    huge = torch.tensor([1e8, 1e8 + 64])
    assert outliers.auroc(huge[:1], huge[1:]) == 1.0  # a sigmoid would call them equal


def test_detection_has_the_rate_only_where_there_is_noise() -> None:
    strange = torch.full_like(X, 0.5)
    found = named(outliers.detection(Fake(), X, strange, "grey"))  # type: ignore[arg-type]
    assert found["ood/grey/max_softmax/auroc"] == found["ood/grey/entropy/auroc"] == 1.0
    assert found["ood/grey/entropy/fpr95"] == 0.0
    assert not any("rate" in name for name in found)
    rate = named(outliers.detection(Fake(sigma=0.5), X, 3 * X, "bright"))  # type: ignore[arg-type]
    assert rate["ood/bright/rate/auroc"] == 1.0


def test_noise_images_are_the_generators() -> None:
    first, second = (outliers.pixel_noise(X, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == X.shape
    assert 0.4 < first.mean() < 0.6
