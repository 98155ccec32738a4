"""Adversarial variational Bayes: two players, three injections, a contrast in closed form, the four points."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.datasets import open_dataset
from vaetune.datasets.batches import Resident
from vaetune.implicit import Discriminator, ImplicitPosterior
from vaetune.models.avb import AVB
from vaetune.models.base import below, initialise
from vaetune.models.configs import AVBConfig
from vaetune.noise import Noise
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds

SMALL = AVBConfig(hidden=(8,), latents=2, noise=3, posterior=(8,), discriminator=(8,), contrast_draws=500)


def built(config: AVBConfig = SMALL) -> AVB:
    model = config.build((1, 2, 2), 4)
    initialise(model, 0)
    return model


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def test_two_players_share_all_parameters_between_them() -> None:
    model = built(replace(SMALL, discriminator_steps=3, discriminator_rate=0.5))
    first, second = model.stages[0].players
    assert (first.name, first.steps, first.rate) == ("discriminator", 3, 0.5)
    for name, _ in model.named_parameters():
        assert below(name, first.modules) != below(name, second.modules), name


def test_noise_joins_the_features_in_three_ways() -> None:
    h, eps = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)), torch.ones(5, 3)
    for injection in ("concatenation", "addition", "product"):
        q_z = ImplicitPosterior(4, 2, 3, injection, (6,))  # type: ignore[arg-type]
        initialise(q_z, 0)
        assert not torch.equal(q_z(h, eps), q_z(h, -eps))
        joined = torch.cat((h, eps), -1)
        if q_z.projection is not None:
            mixed = q_z.projection(eps)
            joined = h + mixed if injection == "addition" else h * mixed
        torch.testing.assert_close(q_z(h, eps), q_z.z(q_z.mlp(joined, None)))


def test_the_contrast_is_that_of_torch_distributions() -> None:
    model, x = built(), torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    draw = model.draw(x, noise())
    with torch.no_grad():
        draws = torch.stack([model.code(x, noise(seed)).z for seed in range(1, 2000)])
    gaussian = Independent(Normal(draws.mean(0), draws.std(0)), 1)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    expected = gaussian.log_prob(draw.z) - prior.log_prob(draw.z)
    torch.testing.assert_close(draw.contrast, expected, atol=0.3, rtol=0.1)
    seen = (draw.z - draws.mean(0)) / draws.std(0)
    torch.testing.assert_close(draw.seen, seen, atol=0.3, rtol=0.1)


def test_a_discriminator_learns_the_logarithm_of_a_known_ratio() -> None:
    """N(1, ½²) against N(0, 1): T must become their log ratio where both have mass."""
    discriminator = Discriminator((1, 1, 1), 1, None, (32,))
    initialise(discriminator, 0)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(512, 1, 1, 1)
    for _ in range(600):
        ours, theirs = (torch.randn(512, 1, generator=generator) for _ in range(2))
        loss = torch.nn.functional.softplus(-discriminator(x, 1 + 0.5 * ours))
        loss = loss + torch.nn.functional.softplus(discriminator(x, theirs))
        optimizer.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    z = torch.linspace(-0.2, 1.8, 9)[:, None]
    exact = (Normal(1.0, 0.5).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).squeeze(-1)
    found = discriminator(x[:9], z).detach()
    assert (found - exact).abs().mean() < 0.15


def histogram_kl(z: Tensor, width: float = 0.1) -> float:
    """KL to N(0, I) of draws z [N, 2], from their histogram, with Miller and Madow's correction of its entropy."""
    cells, counts = torch.unique(torch.floor(z.double() / width), dim=0, return_counts=True)
    share, prior = counts / len(z), Normal(0.0, 1.0)
    mass = (prior.cdf((cells + 1) * width) - prior.cdf(cells * width)).prod(1)
    return float((share * (share / mass).log()).sum() - (len(cells) - 1) / (2 * len(z)))


def test_the_histogram_finds_the_kl_of_a_gaussian() -> None:
    z = 1 + 0.5 * torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    exact = kl_divergence(Normal(1.0, 0.5), Normal(0.0, 1.0)).item() * 2
    assert histogram_kl(z) == pytest.approx(exact, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_four_points_divide_the_prior_among_themselves() -> None:
    """The optimum has KL log 4 and tells the four images apart; the discriminator's KL is the one of a histogram.

    With fewer steps of the discriminator, a lower rate or a third of the epochs one or two of the four stay behind.
    """
    development = open_dataset("four_points").development()
    images, labels = torch.from_numpy(development.images), torch.from_numpy(development.labels)
    config = AVBConfig(
        hidden=(64,),
        latents=2,
        noise=8,
        posterior=(64, 64),
        discriminator=(64, 64),
        discriminator_steps=5,
        adaptive_contrast=False,
    )
    training = TrainingConfig(epochs=300, batch_size=256, learning_rate=2e-3, beta1=0.5, schedule="cosine")
    member = Member("m", "a", Configuration(model=config, training=training, dataset=DatasetConfig()), Seeds(*[0] * 5))
    index = torch.arange(1024)
    trained = Group([member], [Split(index, labels, index[:256])], Resident(images), labels, 4)
    for _ in range(300):
        (row,) = trained.run_epoch()
    assert row.metrics["val/elbo"] > -1.65  # −log 4 = −1.39 at best; −4·log 2 = −2.77 for a fair coin a pixel
    model = config.build((1, 2, 2), 4)
    model.load_state_dict(trained.ended["m"])
    points = (images[:4] / 255).unsqueeze(1)
    with torch.inference_mode():
        made = model.decode(torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))).flatten(1).argmax(1)
        found = torch.cat([model.code(x.repeat(500, 1, 1, 1), noise(i)).z for i, x in enumerate(points)])
        back = model.decode(found).flatten(1).argmax(1).reshape(4, 500)
        draws = [model.code(x.repeat(100_000, 1, 1, 1), noise(10 + i)).z for i, x in enumerate(points)]
        y = torch.zeros(20_000, dtype=torch.int64)
        guesses = [model.terms(x.repeat(20_000, 1, 1, 1), y, noise(20 + i))["kl"].mean() for i, x in enumerate(points)]
    assert (made.bincount(minlength=4) > 400).all()
    assert ((back == torch.arange(4)[:, None]).float().mean(1) > 0.9).all()
    numerical = sum(map(histogram_kl, draws)) / 4
    assert torch.stack(guesses).mean().item() == pytest.approx(numerical, rel=0.05)
    assert numerical == pytest.approx(math.log(4), abs=0.15)
