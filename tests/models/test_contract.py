"""What every model of the catalogue does, on small ones of each kind and each of their parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vaetune import bottlenecks, likelihoods
from vaetune.config import ModelConfig, from_json
from vaetune.errors import UserError
from vaetune.models.base import Classifier, Generative, Model, initialise
from vaetune.models.configs import CATALOGUE
from vaetune.noise import Noise
from vaetune.training import members
from vaetune.training.adam import Adam

SHAPE, CLASSES, BATCH = (2, 3, 4), 3, 6
STACK = {"channels": [4, 5], "kernels": [3, 2], "strides": [2, 1], "paddings": [1, 0]}
CONVOLUTIONS = {"channels": [3], "kernels": [3], "strides": [2], "paddings": [1]}
SMALL: dict[str, dict[str, Any]] = {
    "supervised_vae": {"trunk": [8, 8], "latents": 5, "latent_dropout": 0.3, "beta": 0.01},
    "vae": {"hidden": [8], "latents": 3},
    "cvae": {"hidden": [8], "latents": 3},
    "avb": {"hidden": [8], "latents": 3, "noise": 4, "posterior": [8], "discriminator": [8], "contrast_draws": 6},
    "conjoint_vae": {"hidden": [8], "latents": 2, "private": 2},
    "conjoint_avb": {
        "hidden": [8],
        "latents": 2,
        "private": 2,
        "noise": 4,
        "posterior": [8],
        "discriminator": [8],
        "contrast_draws": 6,
    },
    "branched_vae": {"hidden": [8], "latents": 3, "classification": 30.0},
}
GENERATIVE: list[dict[str, Any]] = [
    *({"likelihood": name} for name in likelihoods.CATALOGUE),
    {"convolutions": CONVOLUTIONS},
    {"binarize": True},
]
ADVERSARIAL: list[dict[str, Any]] = [
    *({"injection": how, "adaptive_contrast": False} for how in ("concatenation", "addition", "product")),
    {"adaptive_contrast": True},
    {"convolutions": CONVOLUTIONS},
    {"binarize": True},
]
PARTS: dict[str, list[dict[str, Any]]] = {
    "supervised_vae": [
        *({"bottleneck": name} for name in bottlenecks.CATALOGUE),
        {"trunk": []},
        {"dropout": 0.2},
        {"label_smoothing": 0.1},
        {"confidence_penalty": 0.1},
        {"logit_penalty": 0.01},
        {"bottleneck": "gaussian", "decoder": [7], "reconstruction": 0.01},
        {"bottleneck": "deterministic_wide", "decoder": [], "reconstruction": 0.01},
        {"convolutions": CONVOLUTIONS, "decoder": [7], "reconstruction": 0.01},
    ],
    "vae": [*GENERATIVE, {"hidden": []}, {"kl": "monte_carlo"}, {"capacity": 2.0}, {"free_bits": 0.1}],
    "cvae": GENERATIVE,
    "avb": ADVERSARIAL,
    "conjoint_avb": ADVERSARIAL,
    "conjoint_vae": GENERATIVE,
    "branched_vae": [*GENERATIVE, {"branch": [6]}, {"reconstruction": 0.1, "beta": 0.1}],
}
CASES = [{"kind": kind} | SMALL[kind] | part for kind in SMALL for part in PARTS[kind]]


def named(settings: dict[str, Any]) -> str:
    kind = settings["kind"]
    return " ".join([kind, *(f"{k}={v}" for k, v in settings.items() if k != "kind" and v != SMALL[kind].get(k))])


every_model = pytest.mark.parametrize("settings", CASES, ids=named)


def built(settings: dict[str, Any], seed: int = 0) -> Model:
    model = from_json(ModelConfig, settings).build(SHAPE, CLASSES)
    initialise(model, seed)
    return model


def batch(n: int = BATCH, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=generator), torch.arange(n) % CLASSES


def noise(seed: int = 2) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_every_kind_is_tested() -> None:
    assert SMALL.keys() == PARTS.keys() == CATALOGUE.keys()


@every_model
def test_terms_are_finite_and_one_an_example(settings: dict[str, Any]) -> None:
    model = built(settings)
    for given in (noise(), None):
        terms = model.terms(*batch(), given)
        assert "loss" in terms
        assert all(term.shape == (BATCH,) and term.isfinite().all() for term in terms.values())
        assert all(term.dtype == torch.float32 for term in terms.values())


@every_model
def test_terms_are_those_of_each_example_alone(settings: dict[str, Any]) -> None:
    if "free_bits" in settings:
        pytest.skip("free bits are a batch's: they are shared out over its examples")
    model, (x, y) = built(settings), batch()
    together = model.terms(x, y, None)
    for i in range(BATCH):
        for name, term in model.terms(x[i : i + 1], y[i : i + 1], None).items():
            torch.testing.assert_close(term[0], together[name][i], rtol=1e-5, atol=1e-5)


@every_model
def test_every_parameter_has_a_finite_gradient(settings: dict[str, Any]) -> None:
    model = built(settings)
    model.terms(*batch(), noise())["loss"].mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_model
def test_a_pass_is_a_function_of_parameters_batch_and_noise(settings: dict[str, Any]) -> None:
    model = built(settings)
    torch.manual_seed(0)
    first = model.terms(*batch(), noise())
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert_same(first, model.terms(*batch(), noise()))
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


@every_model
def test_initial_values_are_a_function_of_the_seed(settings: dict[str, Any]) -> None:
    one, again, other = (dict(built(settings, seed).named_parameters()) for seed in (4, 4, 5))
    assert_same(one, again)
    assert all(not torch.equal(one[name], other[name]) for name in one)
    assert all(parameter.unique().numel() > 1 for parameter in one.values() if parameter.numel() > 1)


@every_model
def test_a_state_loads_into_a_fresh_model(settings: dict[str, Any]) -> None:
    model, fresh = built(settings, 0), built(settings, 1)
    names = {name for name, _ in model.named_parameters()}
    assert model.state_dict().keys() == names  # buffers come from the configuration
    fresh.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    assert_same(model.terms(*batch(), noise()), fresh.terms(*batch(), noise()))


@every_model
def test_a_stack_computes_what_its_members_compute(settings: dict[str, Any]) -> None:
    models, (x, y) = [built(settings, seed) for seed in range(3)], batch(24)
    x, y = x.unflatten(0, (3, 8)), y.unflatten(0, (3, 8))
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    together = members.stack(models).terms(x, y, Noise(generators), 0.5)
    for r, model in enumerate(models):
        for name, term in model.terms(x[r], y[r], noise(r), 0.5).items():
            # A lone product and one of a batch of products may be rounded by other kernels.
            torch.testing.assert_close(together[name][r], term, rtol=1e-4, atol=1e-5)


@every_model
def test_one_batch_can_be_learned(settings: dict[str, Any]) -> None:
    model, (x, y) = members.stack([built(settings)]), batch()
    x, y = x.round().unsqueeze(0), y.unsqueeze(0)
    adam = Adam(model, 0.9, 0.999, [0.0])
    draws = Noise([torch.Generator().manual_seed(0)])
    before = model.terms(x, y, None)
    for _ in range(200):
        model.terms(x, y, draws)["loss"].mean(-1).sum().backward()
        adam.step([0.02])
    after = model.terms(x, y, None)
    assert after["loss"].mean() < before["loss"].mean()
    if isinstance(model, Classifier):
        assert torch.equal(model.predict(x).argmax(-1), y)
        assert after["cross_entropy"].mean() < 0.3 * before["cross_entropy"].mean()
    else:
        assert after["reconstruction"].mean() < before["reconstruction"].mean() - 1


@every_model
def test_the_model_does_what_its_tasks_promise(settings: dict[str, Any]) -> None:
    model, (x, y) = built(settings), batch()
    assert model.tasks <= {"classify", "reconstruct", "generate"}
    assert ("classify" in model.tasks) == isinstance(model, Classifier)
    assert ("generate" in model.tasks) == isinstance(model, Generative)
    if isinstance(model, Classifier):
        assert model.predict(x).shape == (BATCH, CLASSES)
        assert torch.equal(model.predict(x), model.predict(x))
        assert torch.equal(model.predict(x), model.predict(x, noise())) == (not model.stochastic)
        logits, code = model.coded(x)
        assert torch.equal(logits, model.predict(x))
        assert torch.equal(code.mu, model.code(x).mu)
        assert model.head_norm().shape == ()
        one_by_one = noise()
        for logits in model.passes(x, noise(), 3):
            assert torch.equal(logits, model.predict(x, one_by_one))
    if isinstance(model, Generative):
        z = torch.zeros(BATCH, model.latents)
        assert model.decode(z, y).shape == model.observed(x, noise()).shape == x.shape
        assert model.code(x, None, y).mu.shape == z.shape
        assert model.log_likelihood(x, z, y).shape == model.log_weight(x, y, noise()).shape == (BATCH,)


@every_model
def test_wrong_images_and_labels_are_refused_with_a_message(settings: dict[str, Any]) -> None:
    model, (x, y) = built(settings), batch()
    model.check(x, y)
    with pytest.raises(UserError, match=r"images of 2x3x4 .*found 3x3x4"):
        model.check(torch.cat((x, x[:, :1]), 1), y)
    with pytest.raises(UserError, match=r"images of 2x3x4 .*found 2x4x3"):
        model.check(x.mT, y)
    with pytest.raises(UserError, match=r"labels from 0 to 2, found 3"):
        model.check(x, y + 1)
    with pytest.raises(UserError, match=r"labels from 0 to 2, found -1"):
        model.check(x, y - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "supervised_vae", "bottleneck": "gausian"}, "did you mean 'gaussian'"),
        ({"kind": "supervised_vae", "reconstruction": 0.1}, "model.reconstruction needs model.decoder"),
        ({"kind": "supervised_vae", "decoder": [8]}, "model.decoder is never trained"),
        ({"kind": "vae", "likelihood": "bernouli"}, "did you mean 'bernoulli'"),
        ({"kind": "vae", "kl": "monte_carlo", "free_bits": 0.1}, "model.free_bits needs the KL of every latent"),
        ({"kind": "cvae", "convolutions": CONVOLUTIONS | {"kernels": [9]}}, "layer 1"),
    ],
)
def test_bad_settings_are_refused_in_words(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        built(settings)
    assert message in str(error.value)
