"""Steps recorded and replayed: the numbers of steps taken one by one. On a GPU as CUDA graphs, else by a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from vaetune.datasets.batches import Resident
from vaetune.training import group as module
from vaetune.training.group import Group
from vaetune.training.seeds import Member
from vaetune.training.steps import Captured


class Again:
    """In the place of CUDA graphs: what is recorded is done again, on the memory that it was recorded on."""

    made = 0

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        Again.made += 1

    def aside(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> type[Again]:
    monkeypatch.setattr(module, "CudaGraphs", Again)
    Again.made = 0
    return Again


def trained(world: Any, finish: Callable[[Group], Any], route: str, *members: Member, device: str = "cpu") -> Any:
    splits, pixels = [world.split(m) for m in members], Resident(world.images.to(device))
    return finish(Group(members, splits, pixels, world.labels.to(device), world.classes, device, route=route))


CHANGES: list[dict[str, Any]] = [
    {},
    {"training__learning_rate_decay": 0.5, "training__decay_every": 2},  # another graph for every rate
    {"training__penalty_warmup": 3, "training__ema": 0.9},
    {"training__patience": 1, "training__epochs": 12, "training__learning_rate": 0.1},  # members leave the stack
    {"training__weight_decay": 0.1, "model__dropout": 0.3},
    {"training__batch_size": 7},  # 40 images: the last batch is smaller
    {"training__batch_size": 64},
    {"model__decoder": (6,), "model__decoder_share": 0.5},  # two stages
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_replayed_steps_have_the_bits_of_steps(
    pool: Any, finish: Callable[[Group], Any], again: type[Again], changes: dict[str, Any]
) -> None:
    world = pool(base={"training__epochs": 6, "training__batch_size": 8, **changes})
    members = [world.member(i) for i in range(3)]
    one_by_one, replayed = (trained(world, finish, route, *members) for route in ("steps", "graph"))
    assert again.made
    assert all(replayed[id].same_as(one_by_one[id]) for id in one_by_one)


def test_one_recording_serves_as_long_as_nothing_changes(
    pool: Any, finish: Callable[[Group], Any], again: type[Again]
) -> None:
    world = pool(base={"training__epochs": 5})
    trained(world, finish, "graph", world.member(0))
    assert again.made == 1
    trained(world, finish, "graph", world.member(0, training__schedule="cosine"))
    assert again.made == 1 + 5


def test_what_is_given_is_no_view_of_what_is_replayed() -> None:
    """Else every step's terms would be the last one's."""

    class Counting:
        count = 0

        def __call__(self, images: torch.Tensor, y: torch.Tensor) -> Any:
            self.count += 1
            if self.count == 1:
                self.terms, self.losses = {"loss": torch.zeros(1, 2)}, torch.zeros(1, 1)
            self.terms["loss"].fill_(self.count)
            return self.terms, self.losses.fill_(self.count)

    steps = Captured(Counting(), Again([]))  # type: ignore[arg-type]
    images, y = torch.zeros(1, 2, 1, 1, 1, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int64)
    taken = [steps(images, y) for _ in range(6)]
    assert [terms["loss"][0, 0].item() for terms, _ in taken] == [1, 2, 3, 4, 5, 6]
    assert [losses.item() for _, losses in taken] == [1, 2, 3, 4, 5, 6]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_cuda_graphs_have_the_numbers_of_steps(
    pool: Any, finish: Callable[[Group], Any], changes: dict[str, Any]
) -> None:
    world = pool(base={"training__epochs": 6, "training__batch_size": 8, **changes})
    members = [world.member(i) for i in range(3)]
    one_by_one, replayed = (trained(world, finish, route, *members, device="cuda") for route in ("steps", "graph"))
    for id, expected in one_by_one.items():
        assert len(replayed[id].rows) == len(expected.rows)
        for name, weights in expected.weights.items():
            torch.testing.assert_close(replayed[id].weights[name], weights, rtol=1e-5, atol=1e-6)
