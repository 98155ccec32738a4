"""Defects that code of this kind has had before, one test each: none of them is to come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.datasets.batches import Resident
from vaetune.models.base import Generative, initialise
from vaetune.models.configs import (
    AVBConfig,
    BranchedVAEConfig,
    ConjointAVBConfig,
    ConjointVAEConfig,
    CVAEConfig,
    SupervisedVAEConfig,
    VAEConfig,
)
from vaetune.noise import Noise
from vaetune.storage import Storage
from vaetune.study import Arm, Study
from vaetune.study.settings import apply
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

SHAPE, CLASSES, N = (2, 3, 3), 3, 21
IMAGES = torch.randint(0, 256, (N, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(N) % CLASSES
TWO_STAGES = SupervisedVAEConfig(trunk=(6,), latents=2, bottleneck="gaussian", decoder=(5,), decoder_share=0.5)
SMALL = {"hidden": (6,), "latents": 2}
IMPLICIT = {"noise": 2, "posterior": (6,), "discriminator": (6,), "contrast_draws": 4}


def noise() -> Noise:
    return Noise(torch.Generator().manual_seed(1))


def group(model: ModelConfig, images: Tensor = IMAGES, **training: object) -> Group:
    settings = TrainingConfig(**{"epochs": 4, "batch_size": 4, "learning_rate": 1e-2} | training)  # type: ignore[arg-type]
    member = Member("m", "a", Configuration(model=model, training=settings, dataset=DatasetConfig()), Seeds(*[0] * 5))
    index = torch.arange(N)
    return Group([member], [Split(index[:15], LABELS[:15], index[15:])], Resident(images), LABELS, CLASSES)


@pytest.mark.parametrize(
    ("config", "term"),
    [
        (VAEConfig(**SMALL), "kl"),
        (CVAEConfig(**SMALL), "kl"),
        (BranchedVAEConfig(**SMALL), "kl"),
        (AVBConfig(**SMALL, **IMPLICIT), "kl"),
        (ConjointVAEConfig(**SMALL, private=2), "kl"),
        (ConjointAVBConfig(**SMALL, **IMPLICIT, private=2), "kl"),
        (SupervisedVAEConfig(trunk=(6,), latents=2, bottleneck="gaussian"), "penalty"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_beta_has_an_effect(config: ModelConfig, term: str) -> None:
    """One more of β is one more KL in the loss."""
    terms = []
    for beta in (1.0, 2.0):
        model = replace(config, beta=beta).build(SHAPE, CLASSES)  # type: ignore[call-arg]
        initialise(model, 0)
        terms.append(model.terms(IMAGES / 255, LABELS, noise()))
    torch.testing.assert_close(terms[1]["loss"] - terms[0]["loss"], terms[0][term], rtol=1e-4, atol=1e-4)
    assert terms[0][term].abs().min() > 1e-4


def test_encoder_and_decoder_of_a_cvae_see_the_label() -> None:
    model = CVAEConfig(**SMALL).build(SHAPE, CLASSES)
    initialise(model, 0)
    x, z = IMAGES[:1].expand(CLASSES, -1, -1, -1) / 255, torch.zeros(CLASSES, 2)
    assert isinstance(model, Generative)
    for made in (model.decode(z, torch.arange(CLASSES)), model.code(x, None, torch.arange(CLASSES)).mu):
        assert len(made.flatten(1).unique(dim=0)) == CLASSES


@pytest.mark.parametrize(("text", "value"), [("false", False), ("False", False), ("true", True), ("TRUE", True)])
def test_boolean_flags_parse(text: str, value: bool) -> None:
    """The text "False" is not true."""
    study = Study(name="s", hypothesis="h", arms=(Arm(name="a", summary=""),), model=VAEConfig(binarize=not value))
    changed, _ = apply(study, [f"model.binarize={text}"])
    assert isinstance(changed.model, VAEConfig)
    assert changed.model.binarize is value


def test_the_best_so_far_survives_a_resume() -> None:
    training = {"epochs": 30, "patience": 4, "learning_rate": 0.3}
    whole, broken = group(VAEConfig(**SMALL), **training), group(VAEConfig(**SMALL), **training)
    rows = []
    while whole.members:
        rows += whole.run_epoch()
    best = int(rows[-1].metrics["best/epoch"])
    assert best < len(rows)
    for _ in range(best + 1):  # the best epoch lies behind when the run breaks off
        broken.run_epoch()
    resumed = group(VAEConfig(**SMALL), **training)
    resumed.load([broken.state(0)])
    again = []
    while resumed.members:
        again += resumed.run_epoch()
    assert again[-1].metrics == rows[-1].metrics
    assert all(torch.equal(resumed.ended["m"][name], tensor) for name, tensor in whole.ended["m"].items())


def test_stages_do_not_overwrite_each_others_checkpoints(tmp_path: object) -> None:
    """What the first stage trained is in the last checkpoint, beside what the second one did."""
    storage, trained = Storage(str(tmp_path)), group(TWO_STAGES)
    saved = []
    while trained.members:
        trained.run_epoch()
        if trained.members:
            numbers, tensors = trained.state(0)
            checkpoints.save_partial(storage, "m", Checkpoint(numbers, trained.weights(0), tensors))
        else:
            checkpoints.save(storage, "m", Checkpoint({"epoch": trained.epoch}, trained.ended["m"], {}))
        last = checkpoints.resume_point(storage, "m") or checkpoints.load(storage, "m")
        saved.append(last.weights)
    for name in saved[-1]:
        first_stage = torch.equal(saved[0][name], saved[1][name])
        second_stage = torch.equal(saved[1][name], saved[3][name])
        assert (first_stage, second_stage) == ((True, False) if name.startswith("decoder") else (False, True)), name


def test_every_image_of_every_batch_is_used() -> None:
    """Fifteen images in batches of four: another pixel in any of them makes another model, the last three included."""
    before = group(VAEConfig(**SMALL))
    before.train_epoch()
    for image in range(15):
        changed = IMAGES.clone()
        changed[image] = 255 - changed[image]
        after = group(VAEConfig(**SMALL), changed)
        after.train_epoch()
        weights = dict(after.model.named_parameters())
        assert any(not torch.equal(p, weights[name]) for name, p in before.model.named_parameters()), image
