"""How long a move of the explorer's slider takes: `python -m benchmarks.explorer` (needs `vaetune[explorer]`)."""

from __future__ import annotations

import os
import statistics
import sys
import time

from vaetune.training.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch loads: one thread

from benchmarks import machine, table
from benchmarks.timing import Rows
from vaetune.config import ModelConfig
from vaetune.models.configs import NETWORKS, SupervisedVAEConfig, VAEConfig

MODELS: dict[str, ModelConfig] = {
    "64-256-256-784, the default study's": SupervisedVAEConfig(
        bottleneck="gaussian", decoder=(256, 256), reconstruction=0.1
    ),
    "convolutional, 32-64 channels": VAEConfig(convolutions=NETWORKS["conv28"], hidden=(256,), latents=10),
}


def moves(n: int) -> Rows:
    """Wall milliseconds from a slider's new value to the new PNG, over `n` moves of all sliders, images of 28×28."""
    return [{"case": "a move of a slider", "route": name, **_timed(config, n)} for name, config in MODELS.items()]


def _timed(config: ModelConfig, n: int) -> dict[str, float]:
    import torch

    from vaetune.latents.explorer import Explorer
    from vaetune.latents.subject import Subject
    from vaetune.models.base import initialise

    torch.set_num_threads(1)
    model = config.build((1, 28, 28), 10)
    initialise(model, 0)
    images = torch.randint(0, 256, (500, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = tuple("0123456789")
    subject = Subject("28", model.requires_grad_(False), images, torch.arange(500) % 10, names)
    explorer = Explorer({"28": lambda: subject})
    changes, times = 0, []
    for i in range(n):
        slider = explorer.sliders[i % len(explorer.sliders)]
        before, started = explorer.decoded.value, time.perf_counter()
        slider.value = slider.min + (i + 1) % 60 / 10
        times.append(1000 * (time.perf_counter() - started))
        changes += explorer.decoded.value != before
    assert changes > n // 2, "a move that changes nothing says nothing"
    return {"median_ms": statistics.median(times), "greatest_ms": max(times), "moves": n}


def main() -> int:
    """Prints a table; returns the exit code."""
    before = machine.describe()
    print(table.section("explorer", moves(400)))
    print(f"{before['cpu']}, load {before['load']} before, {machine.describe()['load']} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
