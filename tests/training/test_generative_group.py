"""Models that predict no labels train and are scored by their loss terms."""

from __future__ import annotations

import torch

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.models.configs import VAEConfig
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds


def group(n: int, **training: object) -> Group:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(60, 1, 4, 4, generator=generator) * 255).to(torch.uint8)
    labels = torch.randint(10, (60,), generator=generator)
    configuration = Configuration(
        model=VAEConfig(hidden=(16,), latents=3),
        training=TrainingConfig(**{"epochs": 3, "batch_size": 16} | training),
        dataset=DatasetConfig(),
    )
    members = [Member(f"m{i}", "a", configuration, Seeds(i, i, i, i, i)) for i in range(n)]
    split = Split(torch.arange(40), labels[:40], torch.arange(40, 60))
    return Group(members, [split] * n, Resident(images), labels, 10)


def test_validation_is_the_mean_of_every_term_under_fixed_noise() -> None:
    trained = group(2)
    (first, _) = trained.run_epoch()
    names = ("loss", "elbo", "reconstruction", "kl")
    expected = {f"{part}/{name}" for part in ("train", "val") for name in names}
    assert set(first.metrics) == expected | {"val/squared_error"}
    assert first.metrics["val/loss"] == -first.metrics["val/elbo"]
    assert trained.validate() == trained.validate()
    assert trained.validate()[0]["val/loss"] == first.metrics["val/loss"]


def test_a_member_has_the_same_numbers_whoever_trains_beside_it() -> None:
    alone, together = group(1), group(3)
    assert [alone.run_epoch()[0].metrics for _ in range(3)] == [together.run_epoch()[0].metrics for _ in range(3)]


def test_patience_follows_the_loss_where_nothing_is_classified() -> None:
    trained = group(1, epochs=40, patience=2, learning_rate=0.3)
    progress = trained.run_epoch()
    while not progress[0].outcome:
        progress = trained.run_epoch()
    assert progress[0].reason.startswith("no better val/loss since epoch")
    best = progress[0].metrics["best/epoch"]
    assert best < trained.epoch == best + 2
