from __future__ import annotations

import pytest
import torch

from vaetune.config import ModelConfig
from vaetune.datasets import open_dataset
from vaetune.latents.subject import Subject
from vaetune.models.base import initialise
from vaetune.models.configs import CVAEConfig, SupervisedVAEConfig, VAEConfig


def trained(config: ModelConfig, name: str, steps: int = 150) -> Subject:
    """A model after some steps on digits, with the first 200 of them."""
    digits = open_dataset("digits").development()
    x, y = torch.from_numpy(digits.images[:500]).float() / 255, torch.from_numpy(digits.labels[:500])
    model = config.build((1, 8, 8), 10)
    initialise(model, 0)
    adam = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        adam.zero_grad()
        model.terms(x, y, None)["loss"].mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
    model.requires_grad_(False)
    return Subject(name, model, torch.from_numpy(digits.images[:200]), y[:200], tuple("0123456789"))


@pytest.fixture(scope="session")
def svae() -> Subject:
    return trained(
        SupervisedVAEConfig(
            trunk=(64,), latents=6, bottleneck="gaussian", beta=0.01, decoder=(64,), reconstruction=0.2
        ),
        "svae",
    )


@pytest.fixture(scope="session")
def vae2() -> Subject:
    """A VAE with two latents."""
    return trained(VAEConfig(hidden=(64,), latents=2), "vae2")


@pytest.fixture(scope="session")
def cvae() -> Subject:
    return trained(CVAEConfig(hidden=(64,), latents=4), "cvae")


@pytest.fixture(scope="session")
def plain() -> Subject:
    """Neither noise nor decoder."""
    return trained(SupervisedVAEConfig(trunk=(16,), latents=4), "plain", 20)
