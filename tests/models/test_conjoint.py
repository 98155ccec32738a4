"""Private latents see one image of a pair, the shared one both; a private part can be put into another pair."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets import open_dataset
from vaetune.datasets.batches import Resident
from vaetune.errors import UserError
from vaetune.models.base import initialise
from vaetune.models.configs import ConjointAVBConfig, ConjointVAEConfig
from vaetune.models.conjoint import Conjoint
from vaetune.models.conjoint_avb import ConjointAVB
from vaetune.noise import Noise
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

SMALL = ConjointVAEConfig(hidden=(8,), latents=3, private=2)
IMPLICIT = ConjointAVBConfig(hidden=(8,), latents=3, private=2, noise=4, posterior=(8,), discriminator=(8,))

both_forms = pytest.mark.parametrize("config", [SMALL, IMPLICIT], ids=lambda config: config.kind)


def built(config: ConjointVAEConfig | ConjointAVBConfig = SMALL) -> Conjoint:
    model = config.build((2, 3, 3), 4)
    initialise(model, 0)
    return model


@both_forms
def test_each_latent_sees_and_is_seen_by_its_own(config: ConjointVAEConfig | ConjointAVBConfig) -> None:
    model, x = built(config), torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    other = torch.cat((x[:, :1], 1 - x[:, 1:]), 1)  # another right image
    moved = (model.code(x).mu != model.code(other).mu).any(0)
    assert moved.tolist() == [False] * 2 + [True] * 5
    z = torch.zeros(1, 7)
    for latent, (left, right) in enumerate([(True, False)] * 2 + [(True, True)] * 3 + [(False, True)] * 2):
        bumped = z.index_fill(1, torch.tensor([latent]), 1.0)
        changed = model.decode(z) != model.decode(bumped)
        assert (bool(changed[:, 0].any()), bool(changed[:, 1].any())) == (left, right)


def test_the_kl_is_that_of_all_three_parts() -> None:
    model, x = built(), torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    code = model.code(x, Noise(torch.Generator().manual_seed(1)))
    assert code.sigma is not None
    prior = Independent(Normal(torch.zeros(7), torch.ones(7)), 1)
    torch.testing.assert_close(code.penalty, kl_divergence(Independent(Normal(code.mu, code.sigma), 1), prior))


@both_forms
def test_transfer_begins_at_home_and_ends_with_the_other_private_part(
    config: ConjointVAEConfig | ConjointAVBConfig,
) -> None:
    model, x = built(config), torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    source = x.flip(0)
    images = model.transfer(x, source, 5)
    assert images.shape == (5, 4, 1, 3, 3)
    here, there = model.code(x).mu, model.code(source).mu
    torch.testing.assert_close(images[0], model.decode(here)[:, :1])
    torch.testing.assert_close(images[-1], model.decode(torch.cat((there[:, :2], here[:, 2:]), 1))[:, :1])
    assert not torch.equal(images[1], images[2])


@both_forms
def test_images_that_are_no_pair_are_refused(config: ConjointVAEConfig | ConjointAVBConfig) -> None:
    with pytest.raises(UserError, match=r"left_channels = 1: images of 1 channels"):
        config.build((1, 3, 3), 4)


def test_implicit_parts_are_independent_and_their_discriminator_sees_them_all() -> None:
    """Noise of one part moves no other; the score changes with each."""
    model, x = built(IMPLICIT), torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert isinstance(model, ConjointAVB)
    h = model.features(x)
    draws = torch.stack([model.sample(h, Noise(torch.Generator().manual_seed(seed))) for seed in range(200)])
    parts = draws[:, 0].double().split(model.parts, -1)
    for i, one in enumerate(parts):
        assert (one.std(0) > 0).all()
        for other in parts[i + 1 :]:
            joint = torch.corrcoef(torch.cat((one, other), -1).T)[: one.shape[1], one.shape[1] :]
            assert joint.abs().max() < 0.3  # 4/√200
    z = draws[0]
    for latent in range(model.latents):
        bumped = z.index_add(1, torch.tensor([latent]), torch.ones(4, 1))
        assert not torch.equal(model.discriminator(x, z), model.discriminator(x, bumped))


@pytest.mark.slow
def test_on_the_toy_what_is_shared_stays_and_what_is_private_moves() -> None:
    """Pairs of the toy share their upper row: with another's private part the upper row must stay, the lower change.

    Two latents a part: with three, to spare for four values, private codes come to mean another thing beside another
    shared one, and half of the transfers or fewer end where they should.
    """
    development = open_dataset("pairs:conjoint_toy::conjoint_toy").development()
    images, labels = torch.from_numpy(development.images), torch.from_numpy(development.labels)
    config = ConjointVAEConfig(hidden=(64,), latents=2, private=2)
    training = TrainingConfig(epochs=60, batch_size=64, learning_rate=5e-3, penalty_warmup=20)
    member = Member("m", "a", Configuration(model=config, training=training, dataset=DatasetConfig()), Seeds(*[0] * 5))
    index = torch.arange(len(labels))
    trained = Group([member], [Split(index, labels, index[:64])], Resident(images), labels, 4)
    for _ in range(60):
        trained.run_epoch()
    model = config.build(tuple(images.shape[1:]), 4)
    model.load_state_dict(trained.ended["m"])
    x, source = images[:256] / 255, images[:256].flip(0) / 255
    with torch.inference_mode():
        moved = model.transfer(x, source, 3)[-1][:, 0].round()
    upper, lower = (moved[:, row] == x[:, 0, row] for row in range(2))
    assert upper.all(-1).float().mean() > 0.9
    assert (moved[:, 1] == source[:, 0, 1]).all(-1).float().mean() > 0.9  # ¼ by chance
    assert lower.all(-1).float().mean() < 0.6
