"""Models that begin with the weights of others, wholly or in parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.errors import UserError
from vaetune.models.base import Model, initialise
from vaetune.models.configs import SupervisedVAEConfig, VAEConfig
from vaetune.training import pretrained
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

CONFIG = SupervisedVAEConfig(trunk=(6,), latents=3, bottleneck="gaussian", decoder=(5,), reconstruction=0.1)
SHAPE, CLASSES = (1, 3, 3), 4


def built(seed: int) -> Model:
    model = CONFIG.build(SHAPE, CLASSES)
    initialise(model, seed)
    return model


def weights(seed: int) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in built(seed).named_parameters()}


@pytest.mark.parametrize("parts", [(), ("trunk", "bottleneck"), ("classifier",), ("bottleneck.mu",)])
def test_named_parts_are_taken_over_and_no_others(parts: tuple[str, ...]) -> None:
    model, given, own = built(0), weights(1), weights(0)
    pretrained.load(model, given, parts, "there")
    for name, parameter in model.named_parameters():
        taken = not parts or name.startswith(parts)
        assert torch.equal(parameter, (given if taken else own)[name]), name


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"unknown part of training.pretrained_parts: 'clasifier': did you mean 'class"):
        pretrained.load(built(0), weights(1), ("clasifier",), "there")
    lacking = {name: w for name, w in weights(1).items() if not name.startswith("decoder")}
    with pytest.raises(UserError, match=r"there has no decoder\.\S+; name the parts it has"):
        pretrained.load(built(0), lacking, (), "there")
    pretrained.load(built(0), lacking, ("trunk",), "there")
    other = weights(1) | {"classifier.weight": torch.zeros(2, 4)}
    with pytest.raises(UserError, match=r"classifier.weight of there is 2x4, and this model's is 3x4"):
        pretrained.load(built(0), other, (), "there")


def group(training: TrainingConfig, given: dict[str, dict[str, Tensor]] | None) -> Group:
    images = torch.randint(0, 256, (24, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(24) % CLASSES
    configuration = Configuration(model=VAEConfig(hidden=(6,), latents=2), training=training, dataset=DatasetConfig())
    member = Member("m", "a", configuration, Seeds(*[0] * 5))
    split = Split(torch.arange(16), labels[:16], torch.arange(16, 24))
    return Group([member], [split], Resident(images), labels, CLASSES, weights=given)


def test_a_finished_run_is_extended_from_its_weights() -> None:
    """Eight epochs more begin where four have ended: better from the first, by the same loss."""
    training = TrainingConfig(epochs=4, batch_size=8, learning_rate=1e-2)
    first = group(training, None)
    for _ in range(4):
        (last,) = first.run_epoch()
    longer = group(replace(training, epochs=8, pretrained="run"), {"run": first.ended["m"]})
    for name, parameter in longer.model.named_parameters():
        assert torch.equal(parameter[0], first.ended["m"][name])
    assert longer.validate()[0] == {name: v for name, v in last.metrics.items() if name.startswith("val/")}
    for _ in range(8):
        (row,) = longer.run_epoch()
    assert row.metrics["val/loss"] < last.metrics["val/loss"]
