"""Small groups, trained by the route that a worker takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from vaetune.config import Configuration, DatasetConfig, TrainingConfig, override
from vaetune.datasets.batches import Resident
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.training import routes
from vaetune.training.environment import ENVIRONMENT
from vaetune.training.group import Group, Progress, Split
from vaetune.training.seeds import Member, Seeds

os.environ.update(ENVIRONMENT)  # MKL reads its part at the first product, and none has been asked for yet


@pytest.fixture(autouse=True)
def _route() -> Iterator[None]:
    """The arithmetic of a worker, and afterwards what it was."""
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    torch.set_float32_matmul_precision(routes.configure()["matmul"])
    torch.set_num_threads(1)
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.set_num_threads(before[1])


@dataclass(frozen=True)
class Pool:
    """Noisy images of a pattern a class, and members that train on `n` of them and validate on `held_out` others."""

    n: int = 40
    held_out: int = 24
    shape: tuple[int, ...] = (1, 4, 4)
    classes: int = 3
    base: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.n + self.held_out) % self.classes

    @property
    def images(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        patterns = 255 * torch.rand(self.classes, *self.shape, generator=generator)
        noise = 255 * torch.rand(len(self.labels), *self.shape, generator=generator)
        return (0.4 * patterns[self.labels] + 0.6 * noise).to(torch.uint8)

    def member(self, number: int, **settings: Any) -> Member:
        """Member `number` with its own seeds; `model__beta=…` is the setting model.beta."""
        configuration = Configuration(
            model=SupervisedVAEConfig(trunk=(10,), latents=5, bottleneck="gaussian", beta=0.01),
            training=TrainingConfig(epochs=4, batch_size=16, learning_rate=0.01),
            dataset=DatasetConfig(),
        )
        changes = {**self.base, **settings}
        configuration = override(configuration, {k.replace("__", "."): v for k, v in changes.items()})
        seeds = Seeds(split=number, labels=0, initial=100 + number, order=200 + number, noise=300 + number)
        return Member(f"m{number}", "arm", configuration, seeds)

    def split(self, member: Member) -> Split:
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(member.seeds.split))
        return Split(order[: self.n], self.labels[order[: self.n]], order[self.n :])

    def group(self, *members: Member) -> Group:
        return Group(members, [self.split(m) for m in members], Resident(self.images), self.labels, self.classes)

    def train(self, *members: Member) -> dict[str, Trained]:
        """Every member trained to its end, by id."""
        return finish(self.group(*members))


@dataclass
class Trained:
    """What became of a member: its epochs, and its weights where it finished."""

    rows: list[Progress] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def metrics(self) -> list[dict[str, float]]:
        return [row.metrics for row in self.rows]

    def same_as(self, other: Trained) -> bool:
        """Whether not one bit of weights and scores differs."""
        if self.weights.keys() != other.weights.keys() or repr(self.rows) != repr(other.rows):  # NaN is NaN
            return False
        return all(torch.equal(self.weights[name], other.weights[name]) for name in self.weights)


def finish(group: Group) -> dict[str, Trained]:
    """Trains until no member is left."""
    trained = {member.id: Trained() for member in group.members}
    while group.members:
        for row in group.run_epoch():
            trained[row.id].rows.append(row)
    for id, weights in group.ended.items():
        trained[id].weights = weights
    return trained


@pytest.fixture
def pool() -> type[Pool]:
    return Pool


@pytest.fixture(name="finish")
def _finish() -> Any:
    return finish


@pytest.fixture(params=["chosen", "highest"])
def both_routes(request: pytest.FixtureRequest) -> None:
    """The route of this machine, and the one where no library of float32 products but MKL is let in."""
    if request.param == "highest":
        torch.set_float32_matmul_precision("highest")
