"""Stacking models of one architecture and taking them apart again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vaetune.bottlenecks import CATALOGUE
from vaetune.models.base import Model, initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.training import members

CONFIG = SupervisedVAEConfig(trunk=(6,), latents=4, dropout=0.1)
BETAS = (0.5, 2.0, 0.1)


def models(bottleneck: str = "gaussian") -> list[Model]:
    out = []
    for seed, beta in enumerate(BETAS):
        model = replace(CONFIG, bottleneck=bottleneck, beta=beta, dropout=0.1 * (seed + 1)).build((1, 2, 3), 3)
        initialise(model, seed)
        out.append(model)
    return out


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("bottleneck", CATALOGUE)
def test_there_and_back_is_the_same(bottleneck: str) -> None:
    alone = models(bottleneck)
    stacked = members.stack(alone)
    for r, model in enumerate(alone):
        fresh = replace(CONFIG, bottleneck=bottleneck).build((1, 2, 3), 3)
        back = members.unstack(stacked, r, fresh)
        assert tensors(back).keys() == tensors(model).keys()
        assert all(torch.equal(tensors(back)[name], value) for name, value in tensors(model).items())


def test_a_stack_is_a_model_of_its_own() -> None:
    alone = models()
    stacked = members.stack(alone)
    before = {name: value.clone() for name, value in tensors(alone[0]).items()}
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    assert all(torch.equal(tensors(alone[0])[name], value) for name, value in before.items())
    lone = members.unstack(stacked, 0, models()[0])
    with torch.no_grad():
        for parameter in lone.parameters():
            parameter.fill_(1.0)
    assert not any(parameter.any() for parameter in stacked.parameters())


def test_everything_gains_a_dimension_and_stays_what_it_is() -> None:
    alone = models()
    stacked = members.stack(alone)
    for name, parameter in alone[0].named_parameters():
        twin = dict(stacked.named_parameters())[name]
        assert twin.shape == (3, *parameter.shape)
        assert isinstance(twin, nn.Parameter)
        assert twin.requires_grad
        assert twin.is_contiguous()
    assert stacked.get_buffer("beta").tolist() == pytest.approx(list(BETAS))
    assert stacked.state_dict().keys() == alone[0].state_dict().keys()  # buffers stay out of checkpoints


def test_keep_drops_the_others_in_the_order_given() -> None:
    alone = models()
    stacked = members.stack(alone)
    members.keep(stacked, [2, 0])
    for r, model in ((0, alone[2]), (1, alone[0])):
        assert all(torch.equal(value[r], tensors(model)[name]) for name, value in tensors(stacked).items())
    assert all(value.shape[0] == 2 for value in tensors(stacked).values())
    assert all(p.requires_grad and p.grad is None for p in stacked.parameters())


def test_models_of_other_parts_do_not_stack() -> None:
    with pytest.raises(ValueError, match="same parameters"):
        members.stack([models("gaussian")[0], models("deterministic")[0]])


def test_models_of_other_sizes_do_not_stack() -> None:
    with pytest.raises(RuntimeError, match="equal size"):
        members.stack([models()[0], replace(CONFIG, bottleneck="gaussian", latents=3).build((1, 2, 3), 3)])
