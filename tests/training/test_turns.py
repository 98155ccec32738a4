"""Players step in turn with parameters and optimizers of their own; stages train what they say and freeze the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.datasets.batches import Part, Resident, unit
from vaetune.errors import UserError
from vaetune.models.base import Model, Player, Stage, below
from vaetune.networks import Linear
from vaetune.noise import Noise
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds
from vaetune.training.turns import current

BOTH = (Stage(1.0, (Player("critic", ("right",), "right_terms", steps=3, rate=0.5), Player("", ("left",)))),)
ONE_BY_ONE = (Stage(0.5, (Player("", ("left",)),)), Stage(0.5, (Player("late", ("right",), "right_terms"),)))
STAGES = {"both": BOTH, "one_by_one": ONE_BY_ONE}


@dataclass(frozen=True, kw_only=True)
class DuelConfig(ModelConfig):
    kind: ClassVar[str] = "duel"
    stages: str = "both"

    def build(self, shape: tuple[int, ...], classes: int) -> Duel:
        return Duel(self, shape, classes)


class Duel(Model):
    """Two layers: `left` minimises (left − right)², `right` maximises it, and decays."""

    def __init__(self, config: DuelConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes, STAGES[config.stages])
        self.left, self.right = Linear(4, 2), Linear(4, 2)

    def _gap(self, x: Tensor) -> Tensor:
        h = x.flatten(-3)
        gap: Tensor = (self.left(h) - self.right(h)).square().sum(-1)
        return gap

    def terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        return {"loss": self._gap(x)}

    def right_terms(self, x: Tensor, y: Tensor, noise: Noise | None, penalty_scale: float = 1.0) -> dict[str, Tensor]:
        size = self.right.weight.square().sum((-2, -1)).unsqueeze(-1)
        return {"loss": size - 0.1 * self._gap(x), "size": size.expand(x.shape[:-3])}


def group(stages: str, members: int = 1, **training: object) -> Group:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(20, 1, 2, 2, generator=generator) * 255).to(torch.uint8)
    labels = torch.zeros(20, dtype=torch.int64)
    configuration = Configuration(
        model=DuelConfig(stages=stages),
        training=TrainingConfig(**{"epochs": 6, "batch_size": 6, "learning_rate": 1e-2, "ema": 0.5} | training),
        dataset=DatasetConfig(),
    )
    split = Split(torch.arange(14), labels[:14], torch.arange(14, 20))
    named = [Member(f"m{i}", "a", configuration, Seeds(i, i, i, i, i)) for i in range(members)]
    return Group(named, [split] * members, Resident(images), labels, 10)


def live(trained: Group) -> dict[str, Tensor]:
    return {name: p[0].detach().clone() for name, p in trained.model.named_parameters()}


def test_players_step_as_two_optimizers_of_torch_would() -> None:
    trained = group("both", ema=0.0)
    model = DuelConfig().build((1, 2, 2), 10)
    model.load_state_dict(live(trained))
    right = torch.optim.Adam(model.right.parameters(), lr=0.5e-2)
    left = torch.optim.Adam(model.left.parameters(), lr=1e-2)
    order = trained._permutation(trained.members[0])
    (pixels,) = Part(trained.pixels, trained.train[0][order]).split(len(order))
    x, y = unit(pixels), trained.targets[0]
    for start in range(0, 14, 6):
        for optimizer, terms, steps in ((right, model.right_terms, 3), (left, model.terms, 1)):
            for _ in range(steps):
                optimizer.zero_grad()
                terms(x[start : start + 6], y, None)["loss"].mean().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    trained.train_epoch()
    for name, parameter in live(trained).items():
        torch.testing.assert_close(parameter, model.get_parameter(name).detach(), rtol=1e-5, atol=1e-6)


def test_a_named_player_has_metrics_of_its_own() -> None:
    (row,) = group("both").run_epoch()
    assert {name for name in row.metrics if name.startswith("train/")} == {
        "train/critic_loss",
        "train/critic_size",
        "train/loss",
    }


def test_a_stage_freezes_what_it_does_not_name() -> None:
    trained = group("one_by_one", ema=0.0)
    moved = []
    for _ in range(6):
        before = live(trained)
        trained.run_epoch()
        after = trained.ended["m0"] if trained.ended else live(trained)
        moved.append({name.split(".")[0] for name in before if not torch.equal(before[name], after[name])})
    assert moved == [{"left"}] * 3 + [{"right"}] * 3


@pytest.mark.parametrize("stages", list(STAGES))
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_resumed_group_goes_on_exactly(stages: str, cut: int) -> None:
    whole, first, second = (group(stages, 2) for _ in range(3))
    rows = [[row.metrics for row in whole.run_epoch()] for _ in range(6)]
    for _ in range(cut):
        first.run_epoch()
    second.load([first.state(r) for r in range(2)])
    assert [[row.metrics for row in second.run_epoch()] for _ in range(6 - cut)] == rows[cut:]
    for id, weights in whole.ended.items():
        assert all(torch.equal(w, second.ended[id][name]) for name, w in weights.items())


@pytest.mark.parametrize("stages", list(STAGES))
def test_a_member_has_the_same_numbers_whoever_trains_beside_it(stages: str) -> None:
    alone, together = group(stages), group(stages, 3)
    for epoch in range(6):
        assert alone.run_epoch()[0].metrics == together.run_epoch()[0].metrics
        if epoch == 3:
            together.keep([0, 2])


def test_stages_share_the_epochs_and_each_gets_one() -> None:
    assert [current(ONE_BY_ONE, epoch, 6) for epoch in range(6)] == [0, 0, 0, 1, 1, 1]
    lopsided = (Stage(0.01), Stage(0.98), Stage(0.01))
    assert [current(lopsided, epoch, 5) for epoch in range(5)] == [0, 1, 1, 1, 2]
    assert [current((Stage(0.98), Stage(0.02)), epoch, 2) for epoch in range(2)] == [0, 1]


def test_too_few_epochs_and_early_stopping_over_stages_are_refused() -> None:
    with pytest.raises(UserError, match=r"training.epochs = 1: .* 2 stages"):
        group("one_by_one", epochs=1)
    with pytest.raises(UserError, match="patience"):
        group("one_by_one", patience=3)


def test_a_path_holds_what_lies_below_it_and_no_namesake() -> None:
    assert below("encoder.mlp.weight", ("encoder",))
    assert below("encoder.mlp.weight", ("",))
    assert not below("encoders.weight", ("encoder",))
    assert not below("decoder.weight", ("encoder", "q_z"))
