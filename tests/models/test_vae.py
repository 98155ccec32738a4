"""The VAE's terms are those of its textbook definition."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from vaetune.models.base import initialise
from vaetune.models.configs import VAEConfig
from vaetune.models.vae import VAE
from vaetune.noise import Noise


def built(**settings: object) -> VAE:
    model = VAEConfig(**{"hidden": (16,), "latents": 3} | settings).build((1, 4, 4), 10)
    initialise(model, 0)
    return model


def batch(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.randint(10, (n,), generator=generator)


def noise() -> Noise:
    return Noise(torch.Generator().manual_seed(2))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian_learned"])
def test_terms_are_those_of_torch_distributions(likelihood: str) -> None:
    model = built(likelihood=likelihood)
    x, y = batch()
    x = x.round()
    code = model.code(x, noise())
    p_x = Bernoulli(model.decode(code.z), validate_args=False)
    if likelihood == "gaussian":
        p_x = Normal(model.decode(code.z), 0.1)
    if likelihood == "gaussian_learned":
        rho = model.decoder(code.z).chunk(2, -1)[1].unflatten(-1, (1, 4, 4))
        offset = torch.tensor(0.1 - 1 / 255).expm1().log()
        p_x = Normal(model.decode(code.z), 1 / 255 + torch.nn.functional.softplus(rho + offset))
    expected = -Independent(p_x, 3).log_prob(x)
    kl = kl_divergence(Independent(Normal(code.mu, code.sigma), 1), Independent(Normal(torch.zeros(3), 1.0), 1))
    terms = model.terms(x, y, noise())
    torch.testing.assert_close(terms["reconstruction"], expected)
    torch.testing.assert_close(terms["kl"], kl)
    torch.testing.assert_close(terms["elbo"], -expected - kl)
    torch.testing.assert_close(terms["loss"], -terms["elbo"])


def test_beta_weighs_the_kl_in_nats_whatever_the_batch() -> None:
    x, y = batch(8)
    model, plain = built(beta=4.0), built()
    ours, theirs = model.terms(x, y, noise()), plain.terms(x, y, noise())
    torch.testing.assert_close(ours["loss"] - theirs["loss"], 3 * theirs["kl"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours["elbo"], theirs["elbo"])
    torch.testing.assert_close(model.terms(x, y, noise(), 0.25)["loss"], theirs["loss"])
    assert model.terms(x[:2], y[:2], noise())["kl"].tolist() == pytest.approx(theirs["kl"][:2].tolist(), rel=1e-5)


def test_iwae_weights_average_to_the_elbo() -> None:
    model = built()
    x, y = batch(2)
    draws = Noise(torch.Generator().manual_seed(3))
    with torch.inference_mode():
        weights = torch.stack([model.log_weight(x, y, draws) for _ in range(4000)])
        elbo = torch.stack([model.terms(x, y, draws)["elbo"] for _ in range(4000)])
    spread = weights.std(0) / 4000**0.5
    assert ((weights.mean(0) - elbo.mean(0)).abs() < 4 * spread).all()


def test_an_image_comes_back_in_its_shape() -> None:
    model = built(likelihood="gaussian_learned")
    assert model.decode(torch.zeros(7, 3)).shape == (7, 1, 4, 4)
