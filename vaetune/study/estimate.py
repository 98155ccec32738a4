"""What a study costs on this machine: seconds an epoch from a few real steps, parameters from the models themselves."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

from vaetune.config import Configuration
from vaetune.datasets.base import Dataset
from vaetune.datasets.batches import Resident
from vaetune.study import Arm, Study
from vaetune.study.members import searched
from vaetune.study.space import combined, configuration, draws
from vaetune.training import routes
from vaetune.training.group import Group, Split

_STEPS = 6


def parameters(data: Dataset) -> Callable[[Configuration], int]:
    """The number of parameters of a configuration's model on this dataset."""

    def count(chosen: Configuration) -> int:
        with torch.device("meta"):
            model = chosen.model.build(data.shape, data.classes)
        return sum(p.numel() for p in model.parameters())

    return count


def seconds_per_epoch(study: Study, arm: Arm, data: Dataset, n_train: int) -> float:
    """Seconds that one epoch of one member takes: short epochs on random images, scaled to `n_train` of them."""
    routes.configure()
    _, overrides = next(draws(combined(study, arm), 1))
    chosen = configuration(study, arm, overrides)
    size = chosen.training.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (size * _STEPS, *data.shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(data.classes, (len(images),), generator=generator)
    validation = torch.randint(len(images), (study.dataset.n_validation,), generator=generator)
    member = searched(study, 0, arm, 0, 0, chosen)
    split = Split(torch.arange(len(images)), labels, validation)
    group = Group([member], [split], Resident(images), labels, data.classes)
    group.train_epoch()
    training, scoring = [], []
    for _ in range(3):
        started = time.perf_counter()
        group.train_epoch()
        between = time.perf_counter()
        group.validate()
        training.append(between - started)
        scoring.append(time.perf_counter() - between)
    return statistics.median(training) / _STEPS * math.ceil(n_train / size) + statistics.median(scoring)
