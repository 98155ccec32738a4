from __future__ import annotations

import numpy as np
import pytest
import torch

from vaetune.latents.axes import Axes
from vaetune.latents.subject import Subject

MU = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3.0, 1.0]) + 2


def test_principal_axes_are_those_of_the_covariance() -> None:
    axes = Axes.principal(MU)
    values, vectors = np.linalg.eigh(np.cov(MU.numpy().T))
    assert axes.spread.square().numpy() == pytest.approx(values[::-1], rel=1e-4)
    assert np.abs(np.diag(axes.directions.numpy() @ vectors[:, ::-1])) == pytest.approx(np.ones(3), rel=1e-4)
    assert axes.share.sum() == pytest.approx(1)
    assert axes.names == ("PC1", "PC2", "PC3")
    assert axes.label(0) == f"PC1 · {100 * values[-1] / values.sum():.0f} % of variance"


def test_latents_by_kl_or_by_variance() -> None:
    assert Axes.latents(MU, None).names == ("z1", "z2", "z0")
    by_kl = Axes.latents(MU, torch.tensor([3.0, 1.0, 2.0]))
    assert by_kl.names == ("z0", "z2", "z1")
    share = MU[:, 0].var() / MU.var(0).sum()
    assert by_kl.label(0, "|") == f"z0, KL 3.00 nats|{100 * share:.0f} % of variance"
    assert torch.equal(by_kl.directions @ torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0]))


@pytest.mark.parametrize("axes", [Axes.principal(MU), Axes.latents(MU, None)])
def test_to_move_and_to_measure_are_inverse(axes: Axes) -> None:
    moved = axes.moved(MU[:5], {1: 2.0, 2: -1.0})
    steps = (axes.coordinates(moved) - axes.coordinates(MU[:5])) / axes.spread
    assert torch.allclose(steps, torch.tensor([0.0, 2.0, -1.0]).expand(5, 3), atol=1e-4)
    back = axes.center + axes.coordinates(MU[:5]) @ axes.directions
    assert torch.allclose(back, MU[:5], atol=1e-4)


def test_around_counts_in_the_spread_of_a_class() -> None:
    axes = Axes.principal(MU)
    half = axes.around((MU - 2) / 2 + 7)
    assert torch.allclose(half.spread, axes.spread / 2, rtol=1e-3)
    assert torch.allclose(half.center, (MU.mean(0) - 2) / 2 + 7, atol=1e-4)


def test_neighbours_are_the_nearest_others(svae: Subject) -> None:
    found = svae.neighbours(7, 4).tolist()
    distance = np.linalg.norm(svae.mu.numpy() - svae.mu[7].numpy(), axis=1)
    assert found == np.argsort(distance)[1:5].tolist()


def test_a_subject_knows_its_probabilities(svae: Subject, vae2: Subject) -> None:
    assert svae.probabilities is not None
    assert torch.allclose(svae.probabilities.sum(1), torch.ones(200))
    assert (svae.probabilities.argmax(1) == svae.labels).float().mean() > 0.8
    assert vae2.probabilities is None
