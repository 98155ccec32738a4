"""The label reaches both halves of a CVAE, and what it generates depends on it."""

from __future__ import annotations

import pytest
import torch

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.errors import UserError
from vaetune.models.base import initialise
from vaetune.models.configs import Convolutions, CVAEConfig
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

SHAPE, CLASSES = (1, 6, 6), 4
STACK = Convolutions(channels=(4,), kernels=(3,), strides=(2,), paddings=(1,))


@pytest.mark.parametrize("convolutions", [None, STACK])
def test_encoder_and_decoder_see_the_label(convolutions: Convolutions | None) -> None:
    model = CVAEConfig(hidden=(24,), latents=3, convolutions=convolutions).build(SHAPE, CLASSES)
    initialise(model, 0)
    x, y = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    z, other = torch.zeros(4, 3), (y + 1) % CLASSES
    assert (model.decode(z, y) != model.decode(z, other)).flatten(1).any(1).all()
    assert (model.code(x, None, y).mu != model.code(x, None, other).mu).any(1).all()
    assert (model.log_likelihood(x, z, y) != model.log_likelihood(x, z, other)).all()
    with pytest.raises(UserError, match="label"):
        model.decode(z)


def test_it_generates_by_label() -> None:
    """Images that are a brightness a class: whatever z, the label decides."""
    y = torch.arange(64) % CLASSES
    images = (y * 80).to(torch.uint8)[:, None, None, None].expand(-1, *SHAPE).contiguous()
    configuration = Configuration(
        model=CVAEConfig(hidden=(24,), latents=3, likelihood="gaussian", pixel_sigma=0.3),
        training=TrainingConfig(epochs=120, batch_size=16, learning_rate=1e-2),
        dataset=DatasetConfig(),
    )
    index = torch.arange(64)
    member = Member("m", "a", configuration, Seeds(0, 0, 0, 0, 0))
    trained = Group([member], [Split(index, y, index[:0])], Resident(images), y, CLASSES)
    for _ in range(120):
        trained.run_epoch()
    model = configuration.model.build(SHAPE, CLASSES)
    model.load_state_dict(trained.ended["m"])
    z = torch.randn(CLASSES, model.latents, generator=torch.Generator().manual_seed(0))
    generated = model.decode(z, torch.arange(CLASSES)).mean((1, 2, 3))
    torch.testing.assert_close(generated, torch.arange(CLASSES) * 80 / 255, atol=0.06, rtol=0)
