"""The two-stage SVAE: encoder and classifier first, then a decoder on the frozen encoder; and the branched one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.errors import UserError
from vaetune.models.base import below, initialise
from vaetune.models.configs import BranchedVAEConfig, Convolutions, SupervisedVAEConfig
from vaetune.noise import Noise
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

STACK = Convolutions(channels=(4,), kernels=(3,), strides=(2,), paddings=(1,))
TWO_STAGES = SupervisedVAEConfig(
    trunk=(12,), latents=4, bottleneck="gaussian", beta=1e-3, decoder=(12,), decoder_share=0.5, convolutions=STACK
)


def group(config: ModelConfig, epochs: int = 6) -> Group:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(30, 1, 6, 6, generator=generator) * 255).to(torch.uint8)
    labels = torch.arange(30) % 3
    settings = TrainingConfig(epochs=epochs, batch_size=8, learning_rate=1e-2)
    member = Member("m", "a", Configuration(model=config, training=settings, dataset=DatasetConfig()), Seeds(*[0] * 5))
    return Group([member], [Split(torch.arange(20), labels[:20], torch.arange(20, 30))], Resident(images), labels, 3)


def test_the_decoder_trains_last_on_what_the_first_stage_left() -> None:
    two, first_only = group(TWO_STAGES), group(replace(TWO_STAGES, decoder=None, decoder_share=0.0))
    rows = [two.run_epoch()[0].metrics for _ in range(6)]
    for row in rows[:3]:
        assert first_only.run_epoch()[0].metrics == row
    assert [set(row) & {"train/loss", "train/decoder_loss"} for row in rows] == (
        [{"train/loss"}] * 3 + [{"train/decoder_loss"}] * 3
    )
    assert rows[5]["train/decoder_loss"] < rows[3]["train/decoder_loss"]
    assert {row["val/nll"] for row in rows[2:]} == {rows[2]["val/nll"]}
    encoder = dict(first_only.model.named_parameters())
    for name, weight in two.ended["m"].items():
        if not below(name, ("decoder",)):
            assert torch.equal(weight, encoder[name][0]), name


def test_every_parameter_belongs_to_one_stage_and_learns_in_it() -> None:
    model = TWO_STAGES.build((1, 6, 6), 3)
    initialise(model, 0)
    x, y = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3
    for name, parameter in model.named_parameters():
        owners = [player for stage in model.stages for player in stage.players if below(name, player.modules)]
        assert len(owners) == 1, name
        terms = getattr(model, owners[0].terms)(x, y, Noise(torch.Generator().manual_seed(0)))
        (gradient,) = torch.autograd.grad(terms["loss"].sum(), parameter)
        assert gradient.any(), name


def test_forms_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="together"):
        replace(TWO_STAGES, reconstruction=0.1).build((1, 6, 6), 3)
    with pytest.raises(UserError, match=r"needs model\.decoder"):
        replace(TWO_STAGES, decoder=None).build((1, 6, 6), 3)


def test_the_branch_reads_the_trunk_and_its_three_weights_their_own_losses() -> None:
    x, y = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3
    plain = BranchedVAEConfig(hidden=(8,), latents=3, branch=(6,))
    weighted = replace(plain, reconstruction=0.5, beta=3.0, classification=7.0)
    found = []
    for config in (plain, weighted):
        model = config.build((1, 6, 6), 3)
        initialise(model, 0)
        found.append(model.terms(x, y, Noise(torch.Generator().manual_seed(0)), 0.5))
    for terms, (r, beta, c) in zip(found, ((1, 1, 1), (0.5, 3, 7)), strict=True):
        expected = r * terms["reconstruction"] + 0.5 * beta * terms["kl"] + c * terms["cross_entropy"]
        torch.testing.assert_close(terms["loss"], expected)
    assert torch.equal(model.predict(x), model.predict(x, Noise(torch.Generator().manual_seed(1))))
    assert not model.stochastic


def test_a_branched_model_is_scored_on_both_tasks() -> None:
    (row,) = group(BranchedVAEConfig(hidden=(8,), latents=3)).run_epoch()
    assert {"val/error", "val/nll", "val/temperature", "val/elbo", "val/kl", "val/loss"} <= set(row.metrics)
