"""The SVAE's loss: what each weight multiplies, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical
from torch.nn import functional

from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.models.supervised_vae import SupervisedVAE
from vaetune.noise import Noise

SHAPE, CLASSES = (1, 4, 4), 5
PENALIZED = ("compression", "fixed_noise_compression", "gaussian")


def built(seed: int = 0, **settings: Any) -> SupervisedVAE:
    config = SupervisedVAEConfig(**{"trunk": (12,), "latents": 6, "bottleneck": "gaussian"} | settings)
    model = config.build(SHAPE, CLASSES)
    initialise(model, seed)
    return model


def batch(n: int = 8) -> tuple[Tensor, Tensor]:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.arange(n) % CLASSES


def noise() -> Noise:
    return Noise(torch.Generator().manual_seed(2))


def plain(model: SupervisedVAE, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, penalty and logits of a noisy pass, from their definitions."""
    code = model.code(x, noise())
    logits = model.classifier(code.z)
    assert code.penalty is not None
    return functional.cross_entropy(logits, y, reduction="none"), code.penalty, logits


@pytest.mark.parametrize("bottleneck", PENALIZED)
@pytest.mark.parametrize("beta", [0.0, 1e-3, 1.0, 7.5])
def test_beta_multiplies_the_penalty_of_every_example(bottleneck: str, beta: float) -> None:
    model, (x, y) = built(bottleneck=bottleneck, beta=beta), batch()
    cross_entropy, penalty, _ = plain(model, x, y)
    terms = model.terms(x, y, noise())
    torch.testing.assert_close(terms["cross_entropy"], cross_entropy)
    torch.testing.assert_close(terms["penalty"], penalty)
    torch.testing.assert_close(terms["loss"], cross_entropy + beta * penalty)


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_warm_up_scales_the_penalty_and_nothing_else(scale: float) -> None:
    model, (x, y) = built(beta=2.0, logit_penalty=0.1), batch()
    cross_entropy, penalty, logits = plain(model, x, y)
    terms = model.terms(x, y, noise(), scale)
    torch.testing.assert_close(terms["loss"], cross_entropy + scale * 2 * penalty + 0.1 * logits.square().sum(-1))


@pytest.mark.parametrize("bottleneck", PENALIZED)
def test_the_batch_size_does_not_change_what_beta_multiplies(bottleneck: str) -> None:
    model, (x, y) = built(bottleneck=bottleneck, beta=0.5), batch(4)
    once, twice = model.terms(x, y, None), model.terms(x.repeat(2, 1, 1, 1), y.repeat(2), None)
    for name in ("loss", "penalty"):
        torch.testing.assert_close(twice[name], once[name].repeat(2))
    gradients = [
        torch.autograd.grad(terms["loss"].mean(), [*model.trunk.parameters(), *model.bottleneck.mu.parameters()])
        for terms in (once, twice)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bottleneck", PENALIZED)
def test_the_latent_size_does_not_change_what_beta_multiplies(bottleneck: str) -> None:
    small, (x, y) = built(bottleneck=bottleneck, beta=0.5), batch()
    large = built(bottleneck=bottleneck, beta=0.5, latents=12)
    large.trunk.load_state_dict(small.trunk.state_dict())
    for name, layer in small.bottleneck.named_children():
        twin = large.bottleneck.get_submodule(name)
        twin.load_state_dict({key: torch.cat((value, value), -1) for key, value in layer.state_dict().items()})
    penalties = [model.terms(x, y, None)["penalty"] for model in (small, large)]
    torch.testing.assert_close(penalties[1], 2 * penalties[0])  # a sum over latents, not a mean
    terms = large.terms(x, y, None)
    torch.testing.assert_close(terms["loss"], terms["cross_entropy"] + 0.5 * terms["penalty"])


def test_every_other_weight_multiplies_its_own_term() -> None:
    model = built(
        bottleneck="deterministic", confidence_penalty=0.3, logit_penalty=0.2, decoder=(7,), reconstruction=0.1
    )
    x, y = batch()
    x = x.round()
    logits = model.predict(x)
    pixels = model.decode(model.code(x).z)
    terms = model.terms(x, y, None)
    torch.testing.assert_close(terms["entropy"], Categorical(logits=logits).entropy())
    torch.testing.assert_close(terms["logits_squared"], logits.square().sum(-1))
    torch.testing.assert_close(terms["reconstruction"], -Bernoulli(logits=pixels).log_prob(x.flatten(1)).sum(-1))
    expected = functional.cross_entropy(logits, y, reduction="none") - 0.3 * terms["entropy"]
    expected = expected + 0.2 * terms["logits_squared"] + 0.1 * terms["reconstruction"]
    torch.testing.assert_close(terms["loss"], expected)


def test_smoothing_changes_the_loss_and_not_the_reported_cross_entropy() -> None:
    model, (x, y) = built(bottleneck="deterministic", label_smoothing=0.2), batch()
    logits, terms = model.predict(x), model.terms(x, y, None)
    torch.testing.assert_close(terms["cross_entropy"], functional.cross_entropy(logits, y, reduction="none"))
    smoothed = functional.cross_entropy(logits, y, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(terms["loss"], smoothed)


def test_arms_begin_alike_wherever_they_have_the_same_layers() -> None:
    ours = dict(built(bottleneck="deterministic").named_parameters())
    for settings in (
        {"bottleneck": "gaussian"},
        {"bottleneck": "gaussian_dropout", "dropout": 0.5},
        {"bottleneck": "gaussian", "decoder": (7,), "reconstruction": 1.0},
    ):
        theirs = dict(built(**settings).named_parameters())
        assert ours.keys() <= theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("settings", "stochastic"),
    [
        ({"bottleneck": "deterministic"}, False),
        ({"bottleneck": "deterministic", "dropout": 0.1}, True),
        ({"bottleneck": "compression"}, False),
        ({"bottleneck": "fixed_noise"}, True),
        ({"bottleneck": "gaussian"}, True),
    ],
)
def test_it_knows_whether_noise_moves_its_predictions(settings: dict[str, Any], stochastic: bool) -> None:
    assert built(**settings).stochastic is stochastic


def test_the_norm_of_the_head_is_that_of_its_weight() -> None:
    model = built()
    assert model.head_norm().item() == pytest.approx(model.bottleneck.mu.weight.square().sum().sqrt().item())
