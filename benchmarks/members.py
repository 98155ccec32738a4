"""R members as one stacked model against the same R one after the other, and against what people use instead."""

from __future__ import annotations

from importlib import import_module

from benchmarks import loops, ours
from benchmarks.networks import VIB, begin, layers
from benchmarks.timing import Rows, alternate, rows, void
from vaetune.config import TrainingConfig
from vaetune.datasets import open_dataset
from vaetune.datasets.base import Images
from vaetune.models.configs import SupervisedVAEConfig

TOLERANCE = 0.02
"""Relative; against the same engine alone the losses are equal to the last bits."""

SIZES = (1, 4, 8, 16)

NETWORKS = {
    "tiny 64-64-8, B = 64": ("digits", 1797, (64,), 8, 64),
    "default 784-256-256-64, B = 128": ("fashion_mini", 5000, (256, 256), 64, 128),
    "paper 784-1024-1024-256, B = 100": ("fashion_mini", 1000, (1024, 1024), 256, 100),
}
"""Name: dataset, images that an epoch takes, trunk, latents, batch size."""


def fused(rounds: int) -> Rows:
    """Every network at R = 1, 4, 8, 16: one stack against R runs of the same engine."""
    out: Rows = []
    for name, (dataset, images, trunk, latents, batch) in NETWORKS.items():
        data = _first(dataset, images)
        config = SupervisedVAEConfig(trunk=trunk, latents=latents, bottleneck="gaussian", beta=1e-3)
        training = TrainingConfig(batch_size=batch)
        for size in SIZES:
            stack = ours.group(config, training, data, range(size))
            alone = [ours.group(config, training, data, range(i, i + 1)) for i in range(size)]
            routes = [ours.route("one stack", [stack]), ours.route("one after the other", alone)]
            alternate(routes, rounds)
            out += rows(f"{name}, R = {size}", routes, 1e-4)
    return out


def sixteen(rounds: int) -> Rows:
    """Sixteen tiny trials: one stack, one after the other, DataLoader loops, Lightning."""
    name, size = "tiny 64-64-8, B = 64", 16
    dataset, images, trunk, latents, batch = NETWORKS[name]
    data = _first(dataset, images)
    config = SupervisedVAEConfig(trunk=trunk, latents=latents, bottleneck="gaussian", beta=1e-3, initial_sigma=0.6931)
    training = TrainingConfig(batch_size=batch)
    stack = ours.group(config, training, data, range(size))
    alone = [ours.group(config, training, data, range(i, i + 1)) for i in range(size)]

    def networks() -> list[VIB]:
        made = [VIB(data.images[0].size, trunk, latents, config.beta, 0.0) for _ in range(size)]
        for member, network in enumerate(made):
            begin(layers(network), ours.weights(stack, member))
        return made

    rate, tensors = training.learning_rate, loops.tensors(data)
    routes = [
        ours.route("one stack", [stack]),
        ours.route("one after the other", alone),
        loops.sequential("TensorDataset + DataLoader", networks(), tensors, batch, rate),
    ]
    case, absent = f"16 trials, {name}", []
    try:
        lightning = import_module("benchmarks.with_lightning")
        routes.append(lightning.sequential("Lightning Trainer", networks(), tensors, batch, rate))
    except ModuleNotFoundError as error:
        absent.append(void(case, "Lightning Trainer", f"not installed: {error.name}"))
    alternate(routes, rounds)
    return rows(case, routes, TOLERANCE) + absent


def _first(name: str, images: int) -> Images:
    development = open_dataset(name).development()
    return Images(development.images[:images], development.labels[:images])
