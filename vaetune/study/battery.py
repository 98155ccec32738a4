"""The battery: what replicates show beyond their scores. In parts, each measured once a replicate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from vaetune import checkpoints
from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset
from vaetune.datasets.splits import noisy_labels, split
from vaetune.errors import UserError
from vaetune.evaluation import attacks, battery, outliers
from vaetune.evaluation.battery import Row
from vaetune.models.base import Classifier
from vaetune.seeding import derive
from vaetune.storage import Storage
from vaetune.study import Replication, Resources
from vaetune.study.evaluate import Images
from vaetune.tables import Tables
from vaetune.training import routes
from vaetune.training.seeds import Member

PARTNERS = {"mnist": "fashion_mnist", "fashion_mnist": "mnist", "fashion_mini": "mnist"}
"""Images of the same shape and another kind."""

ATTACKED = 500
"""Test images that are attacked: the first ones, the same for every replicate."""

CHUNK = 5

Others = Mapping[str, NDArray[np.uint8]]


def others(dataset: Dataset, data_root: str | None, say: Callable[[str], None]) -> Others:
    """Test images of the dataset's partner by its name; none where it has no partner, or the partner's are not here."""
    partner = PARTNERS.get(dataset.name)
    if partner is None:
        return {}
    try:
        found = open_dataset(partner, Path(data_root) if data_root else None, False).sealed_test()
    except UserError:
        say(f"battery: {partner} is not here, so outliers are pixel noise only")
        return {}
    return {partner: np.ascontiguousarray(found.images)}


def run(
    part: str,
    members: Sequence[Member],
    dataset: Dataset,
    others: Others,
    storage: Storage,
    tables: Tables,
    replication: Replication,
    resources: Resources,
) -> None:
    """Measures a part ("default" or "full") on the replicates of which the table does not hold it yet."""
    table = tables.read("battery")
    done = set(table.loc[table["metric"] == f"battery/{part}", "replicate_id"])
    todo = [member for member in members if member.id not in done]
    if not todo:
        return
    development, test = dataset.development(), dataset.sealed_test()
    development_ref = ray.put(Images(development.images, development.labels))
    test_ref = ray.put(Images(test.images, test.labels))
    others_ref: Any = ray.put(dict(others))
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=2)(measure)
    pending = [
        task.remote(
            part, todo[i : i + CHUNK], development_ref, test_ref, others_ref, storage, dataset.classes, replication
        )
        for i in range(0, len(todo), CHUNK)
    ]
    while pending:
        done_now, pending = ray.wait(pending, num_returns=1)
        tables.append("battery", ray.get(done_now[0]))


def measure(
    part: str,
    members: Sequence[Member],
    development: Images,
    test: Images,
    others: Others,
    storage: Storage,
    classes: int,
    replication: Replication,
) -> list[dict[str, Any]]:
    """Rows of the battery table; the last one of each replicate says that the part is whole."""
    routes.configure()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, y = test.tensors(device)
    x = images.float().mul_(1 / 255)
    out = []
    for member in members:
        model = member.configuration.model.build(tuple(test.images.shape[1:]), classes)
        model.load_state_dict(checkpoints.load(storage, member.id).weights)
        model.to(device)
        generator = torch.Generator(device).manual_seed(derive(f"{member.seeds.noise}/battery/{part}"))
        rows: list[Row] = []
        if not isinstance(model, Classifier):
            pass  # every part asks for labels
        elif part == "default":
            rows = battery.default(model, x, y, replication.samples, generator)
        else:
            rows = _full(model, member, x, y, development, others, classes, replication, generator)
        rows.append((f"battery/{part}", None, 1.0))
        out += [{"replicate_id": member.id, "metric": metric, "x": at, "value": value} for metric, at, value in rows]
    return out


def _full(
    model: Classifier,
    member: Member,
    x: torch.Tensor,
    y: torch.Tensor,
    development: Images,
    others: Others,
    classes: int,
    replication: Replication,
    generator: torch.Generator,
) -> list[Row]:
    rows = outliers.detection(model, x, outliers.pixel_noise(x, generator), "noise")
    for name, images in others.items():
        strange = torch.tensor(images, device=x.device).float().mul_(1 / 255)
        rows += outliers.detection(model, x, strange, name)
    dataset, seeds = member.configuration.dataset, member.seeds
    if dataset.label_noise:
        held_out = 0 if replication.refit else dataset.n_validation
        train, _ = split(development.labels, held_out, dataset.n_train, seeds.split)
        seen, true = development.tensors(str(x.device), train)
        given = torch.from_numpy(noisy_labels(development.labels[train], dataset.label_noise, classes, seeds.labels))
        rows += battery.memorised(model, seen.float().mul_(1 / 255), given.to(x.device), true)
    return rows + attacks.robustness(model, x[:ATTACKED], y[:ATTACKED], replication.samples, generator)
