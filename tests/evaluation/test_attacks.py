"""Attacks on a line whose margins are known, and on noise that hides the slope."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vaetune.errors import UserError
from vaetune.evaluation import attacks
from vaetune.noise import Noise

pytest.importorskip("foolbox")


class Line(torch.nn.Module):
    """Two classes by the sign of x₀ − x₁; with noise, both logits move by it at random."""

    def __init__(self, noisy: float = 0.0) -> None:
        super().__init__()
        self.noisy = noisy

    @property
    def stochastic(self) -> bool:
        return self.noisy > 0

    def predict(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        pixels = x.flatten(-3)
        logits = 10 * torch.stack((pixels[..., 0], pixels[..., 1]), -1)
        return logits if noise is None else logits + self.noisy * noise.normal(logits.shape)

    def passes(self, x: Tensor, noise: Noise, count: int) -> Iterator[Tensor]:
        return (self.predict(x, noise) for _ in range(count))


# Distances 0.05, 0.15, 0.25 and 0.5 between the pixels: flipped by ε above 0.025, 0.075, 0.125 and 0.25.
GAPS = torch.tensor([0.05, 0.15, 0.25, 0.5])
X = torch.stack((0.5 + GAPS / 2, 0.5 - GAPS / 2), -1).reshape(-1, 1, 1, 2)
Y = torch.zeros(4, dtype=torch.int64)


def errors(model: Line, seed: int = 0) -> dict[str, list[float]]:
    found = attacks.robustness(model, X, Y, 8, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    assert [x for name, x, _ in found if name == "attack/pgd"] == list(attacks.EPSILONS)
    return {name: [v for n, _, v in found if n == f"attack/{name}"] for name in ("fgsm", "pgd")}


def test_the_error_rises_where_the_margins_are_crossed() -> None:
    found = errors(Line())
    assert found["fgsm"] == found["pgd"] == [0, 0, 0, 0.25, 0.5, 0.75]


def test_the_global_generator_stays_as_it_was_and_decides_nothing() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = errors(Line(1.0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert errors(Line(1.0)) == first


def test_gradients_are_averaged_over_the_noise() -> None:
    model = attacks._Averaged(Line(2.0), 64, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    x = X.clone().requires_grad_()
    model(x)[:, 0].sum().backward()
    assert (x.grad.flatten(1)[:, 0] > 0).all()  # type: ignore[union-attr]
    values = model(X).exp()
    torch.testing.assert_close(values.sum(-1), torch.ones(4))


def test_without_foolbox_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(UserError, match="vaetune\\[attacks\\]"):
        errors(Line())
