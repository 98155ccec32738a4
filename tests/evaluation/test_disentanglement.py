"""Scores of disentanglement on an ideal, a useless and a degenerate representation, and on numbers done by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from vaetune.evaluation.disentanglement import dci, factor_vae, mig, sap, scores

SIZES = (3, 4, 5)


def factors(n: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(size, size=n) for size in SIZES], axis=1)


def ideal(known: np.ndarray) -> np.ndarray:
    """Each factor in a latent of its own, with another sign and scale, and two latents that know nothing."""
    noise = np.random.default_rng(1).standard_normal((len(known), 2))
    return np.concatenate([known[:, [2, 0, 1]] * [1.0, -3.0, 0.5], noise], axis=1)


def entangled(known: np.ndarray) -> np.ndarray:
    """Every latent knows something of every factor."""
    rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    return (known - known.mean(0)) / known.std(0) @ rotation


def noise(known: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((len(known), 4))


def test_an_ideal_code_has_the_highest_scores() -> None:
    known = factors()
    found = scores(ideal(known), known, seed=0)
    assert found["test/mig"] > 0.95
    assert found["test/dci"] > 0.95
    assert found["test/sap"] > 0.95
    assert found["test/factor_vae"] == 1.0


def test_noise_has_the_lowest() -> None:
    known = factors()
    found = scores(noise(known), known, seed=0)
    assert found["test/mig"] < 0.02
    assert found["test/dci"] < 0.05
    assert found["test/sap"] < 0.01
    assert found["test/factor_vae"] == pytest.approx(1 / 3, abs=0.06)  # chance


def test_a_rotated_code_knows_all_and_is_not_disentangled() -> None:
    known = factors()
    found, best = scores(entangled(known), known, seed=0), scores(ideal(known), known, seed=0)
    assert all(found[name] < best[name] - 0.2 for name in ("test/mig", "test/dci", "test/sap"))


@pytest.mark.filterwarnings("error")
def test_a_collapsed_code_scores_zero_without_a_warning() -> None:
    known = factors(400)
    assert scores(np.full((400, 5), 0.3), known, seed=0) == {
        "test/mig": 0.0,
        "test/dci": 0.0,
        "test/sap": 0.0,
        "test/factor_vae": 0.0,
    }


def test_mig_by_hand() -> None:
    """A latent that tells the factor wholly and one that halves its four values: 1 − log 2 / log 4."""
    factor = np.arange(400) % 4
    codes = np.stack([factor.astype(float), (factor >= 2).astype(float)], axis=1)
    assert mig(codes, factor[:, None]) == pytest.approx(1 - math.log(2) / math.log(4))


def test_sap_by_hand() -> None:
    """Squared correlations 1 and, for the half of four values, 4/5."""
    factor = np.arange(400) % 4
    codes = np.stack([factor.astype(float), (factor >= 2).astype(float)], axis=1)
    assert sap(codes, factor[:, None]) == pytest.approx(1 - 0.8)


def test_one_latent_for_two_factors_is_half_disentangled() -> None:
    known = np.stack([np.arange(600) % 2, np.arange(600) // 2 % 2], axis=1)
    both = (known[:, 0] + 2.0 * known[:, 1])[:, None]
    assert dci(both, known, seed=0) == pytest.approx(0.0, abs=0.02)
    assert dci(known.astype(float), known, seed=0) == pytest.approx(1.0, abs=0.01)


def test_the_same_seed_has_the_same_scores_and_a_scale_changes_none() -> None:
    known = factors(1000)
    codes = entangled(known)
    assert scores(codes, known, seed=5) == scores(codes, known, seed=5)
    assert factor_vae(codes * 7, known, seed=5) == factor_vae(codes, known, seed=5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("represent", [ideal, entangled, noise])
def test_mig_and_sap_are_those_of_another_implementation(represent: Callable[[np.ndarray], np.ndarray]) -> None:
    """Of the package disent, where it is installed; vaetune does not ask for it."""
    pytest.importorskip("disent")
    from disent.metrics import _mig, _sap

    known = factors(1000)
    codes = represent(known)
    assert mig(codes, known) == pytest.approx(_mig._compute_mig(codes.T, known.T)["mig.discrete_score"], abs=1e-9)
    matrix = _sap._compute_score_matrix(codes.T, known.T, codes.T, known.T, continuous_factors=True)
    top = np.sort(matrix, axis=0)[::-1]
    assert sap(codes, known) == pytest.approx((top[0] - top[1]).mean(), abs=1e-9)
