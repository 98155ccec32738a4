"""vaetune's own engine as a route: the `Group` that studies train with, one epoch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.timing import Route
from vaetune.config import Configuration, DatasetConfig, ModelConfig, TrainingConfig
from vaetune.convolutions import Convolution
from vaetune.datasets.base import Images
from vaetune.datasets.batches import pixels
from vaetune.networks import Linear
from vaetune.seeding import derive
from vaetune.training import routes
from vaetune.training.group import Group, Split
from vaetune.training.seeds import Member, Seeds


def group(
    model: ModelConfig,
    training: TrainingConfig,
    data: Images,
    numbers: range,
    device: str = "cpu",
    route: str = "steps",
) -> Group:
    """A group of members that differ in their seeds and train on all of `data`."""
    configuration = Configuration(model=model, training=replace(training, epochs=10**6), dataset=DatasetConfig())
    members = [Member(f"bench-{i}", "bench", configuration, _seeds(i)) for i in numbers]
    labels = torch.from_numpy(data.labels.copy())
    classes = int(labels.max()) + 1
    split = Split(torch.arange(len(data)), labels, torch.arange(0))
    images = pixels(data.images, device)
    return Group(members, [split] * len(members), images, labels.to(device), classes, device, route=route)


def weights(group: Group, member: int = 0) -> list[tuple[Tensor, Tensor]]:
    """A member's weights (of linear layers [in, out]) and biases now, layer by layer."""
    layers = [m for m in group.model.modules() if isinstance(m, Linear | Convolution)]
    return [(layer.weight[member].detach().clone(), layer.bias[member].detach().clone()) for layer in layers]


def epoch(group: Group) -> float:
    """One training epoch without validation; the mean loss over its members."""
    sums, _ = group.train_epoch()
    group.epoch += 1
    return float(sums["loss"].mean())


def route(name: str, groups: Sequence[Group]) -> Route:
    """One epoch of every group, one after the other, computed as vaetune's workers compute on this CPU."""
    return Route(name, lambda: sum(map(epoch, groups)) / len(groups), configured)


def configured() -> None:
    """Computes as workers do from here on, in this process too where it is a fork of one that did."""
    routes.configure.cache_clear()
    routes.configure()


def _seeds(number: int) -> Seeds:
    return Seeds(*(derive(f"bench/{number}/{stream}") for stream in ("split", "labels", "initial", "order", "noise")))
