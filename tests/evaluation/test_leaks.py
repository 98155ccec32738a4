"""Nothing that is fitted on a replicate is fitted to the test images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from vaetune.bottlenecks import Code
from vaetune.datasets import open_dataset
from vaetune.datasets.base import Images
from vaetune.datasets.leaks import leaks
from vaetune.datasets.splits import split
from vaetune.evaluation import metrics, replicate

ABOUT_TEST = ("test/", "gap/", "rate/", "latent/", "scale/mu", "scale/sigma", "scale/snr", "scale/logits")


def about_test(name: str) -> bool:
    return name.startswith(ABOUT_TEST)


class Linear:
    """As much of a classifier as evaluation asks for: how like each class's mean an image is."""

    stochastic = False

    def __init__(self) -> None:
        x, y = tensors(digits()[0])
        means = torch.stack([x[y == label].float().mean(0).flatten() for label in range(10)], 1) / 255
        self.weight = means - means.mean(1, keepdim=True)

    def predict(self, x: torch.Tensor, noise: object = None) -> torch.Tensor:
        return x.flatten(-3) @ self.weight

    def coded(self, x: torch.Tensor) -> tuple[torch.Tensor, Code]:
        return self.predict(x), self.code(x)

    def code(self, x: torch.Tensor, noise: object = None) -> Code:
        mu = x.flatten(-3)
        return Code(mu, mu, None, None)

    def head_norm(self) -> torch.Tensor:
        return self.weight.norm()


@cache
def digits() -> tuple[Images, Images, Images]:
    """Training, validation and test images."""
    dataset = open_dataset("digits")
    pool = dataset.development()
    parts = split(pool.labels, 100, 200, 0)
    train, validation = (Images(pool.images[part], pool.labels[part]) for part in parts)
    return train, validation, dataset.sealed_test()


def tensors(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(images.images)), torch.from_numpy(np.array(images.labels))


def honest(test: Images) -> Mapping[str, Any]:
    """What is measured on a replicate, by the program itself."""
    train, validation, _ = digits()
    parts = (tensors(part) for part in (train, validation, test))
    return replicate.evaluate(Linear(), *parts, 2, torch.Generator().manual_seed(0))[0]


def temperature_of_test(test: Images) -> Mapping[str, Any]:
    x, y = tensors(test)
    return {"scale/temperature": metrics.temperature(Linear().predict(x.float() / 255), y).item()}


def test_what_is_measured_on_a_replicate_fits_nothing_to_the_test_split() -> None:
    found = honest(digits()[2])
    assert {"scale/temperature", "val/nll_scaled", "train/nll", "test/nll_scaled"} <= set(found)
    assert leaks(honest, digits()[2], about_test) == []
    changed = leaks(honest, digits()[2], lambda name: False)
    assert {"test/error", "test/nll_scaled", "gap/nll"} <= set(changed)  # so the counterfeit is seen at all


def test_a_temperature_of_the_test_images_is_found() -> None:
    assert leaks(temperature_of_test, digits()[2], about_test) == ["scale/temperature"]
