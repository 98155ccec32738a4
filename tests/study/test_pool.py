"""What workers are handed of a dataset."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets import batches
from vaetune.datasets.base import Images
from vaetune.errors import UserError
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.study.pool import Mapped, Pool
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

N = 120


@pytest.fixture
def prepared(tmp_path: Path) -> Images:
    """A memory map, as prepared images are."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (N, 1, 4, 4), np.uint8))
    return Images(np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(N) % 3, np.arange(N) // 4)


def member(**settings: int | float) -> Member:
    dataset = DatasetConfig(**({"n_validation": 24} | settings))  # type: ignore[arg-type]
    model = SupervisedVAEConfig(trunk=(6,), latents=2, bottleneck="gaussian", beta=0.01)
    configuration = Configuration(model=model, training=TrainingConfig(epochs=2, batch_size=16), dataset=dataset)
    return Member("m", "arm", configuration, Seeds(split=1, labels=2, initial=3, order=4, noise=5))


def test_a_memory_map_travels_as_its_name_and_opens_to_the_same_bytes(prepared: Images) -> None:
    here = Pool.of(prepared, here=True)
    assert isinstance(here.images, Mapped)
    again = pickle.loads(pickle.dumps(here))
    assert len(pickle.dumps(again.images)) < 1000
    np.testing.assert_array_equal(again.images.open(), prepared.images)
    assert next(iter(again.pixels("cpu").batches(torch.tensor([[7]]), 1))).tolist() == prepared.images[[[7]]].tolist()


def test_elsewhere_the_images_themselves_travel(prepared: Images) -> None:
    assert isinstance(Pool.of(prepared, here=False).images, np.ndarray)
    plain = Images(np.array(prepared.images), prepared.labels)
    assert isinstance(Pool.of(plain, here=True).images, np.ndarray)


def test_a_file_that_is_gone_is_named(prepared: Images) -> None:
    pool = Pool.of(prepared, here=True)
    Path(prepared.images.filename).unlink()
    with pytest.raises(UserError, match=r"images\.npy: cannot open the prepared images"):
        pool.pixels("cpu")


def test_groups_reach_a_members_split(prepared: Images) -> None:
    pool = Pool.of(prepared, here=True)
    train, validation = pool.folded(member(), refit=False)
    assert prepared.groups is not None
    assert not set(prepared.groups[train]) & set(prepared.groups[validation])
    everything, nothing = pool.folded(member(), refit=True)
    assert (len(everything), len(nothing)) == (N, 0)
    noisy = pool.targets(member(label_noise=0.5), train, 3)
    assert (noisy != pool.labels[train]).sum() == round(0.5 * len(train))


def test_a_group_that_streams_learns_the_same_numbers(prepared: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool.of(prepared, here=True)
    train, validation = pool.folded(member(), refit=False)
    labels = torch.from_numpy(pool.labels)
    split = Split(torch.from_numpy(train), labels[torch.from_numpy(train)], torch.from_numpy(validation))

    def trained() -> list[dict[str, float]]:
        group = Group([member()], [split], pool.pixels("cpu"), labels, 3)
        return [row.metrics for _ in range(2) for row in group.run_epoch()]

    resident = trained()
    monkeypatch.setattr(batches, "free_memory", lambda device: 0)
    assert isinstance(pool.pixels("cpu"), batches.Streamed)
    assert trained() == resident
