"""The full battery: what replicates show beyond what EVALUATE measures of each, once a replicate."""

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
from vaetune.datasets.batches import Part, unit
from vaetune.errors import UserError
from vaetune.evaluation import attacks, battery, outliers
from vaetune.evaluation.battery import Row
from vaetune.models.base import Classifier
from vaetune.seeding import derive
from vaetune.storage import Storage
from vaetune.study import Replication, Resources, health
from vaetune.study.pool import Pool
from vaetune.tables import Tables
from vaetune.training import routes
from vaetune.training.seeds import Member

PARTNERS = {"mnist": "fashion_mnist", "fashion_mnist": "mnist", "fashion_mini": "mnist"}
"""Images of the same shape and another kind."""

EXAMINED = 10_000
"""Images that the battery looks at at most: drawn once, the same for every replicate."""

ATTACKED = 500
"""Test images that are attacked, likewise."""

CHUNK = 5

_DONE = "battery/full"
"""The metric of the row that says that a replicate's are whole."""

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
    members: Sequence[Member],
    dataset: Dataset,
    others: Others,
    storage: Storage,
    tables: Tables,
    replication: Replication,
    resources: Resources,
    here: bool,
    interrupted: Callable[[], bool],
) -> None:
    """Measures outliers, attacks and memorised labels on the replicates of which the table does not hold them yet."""
    table = tables.read("battery")
    done = set(table.loc[table["metric"] == _DONE, "replicate_id"])
    todo = [member for member in members if member.id not in done]
    if not todo:
        return
    development_ref = ray.put(Pool.of(dataset.development(), here))
    test_ref = ray.put(Pool.of(dataset.sealed_test(), here))
    others_ref: Any = ray.put(dict(others))
    shared = (development_ref, test_ref, others_ref, storage, dataset.classes, replication)
    calls = [(todo[i : i + CHUNK], *shared) for i in range(0, len(todo), CHUNK)]
    for rows in health.tasks(measure, calls, resources, interrupted, health.limit(here)):
        tables.append("battery", rows)


def measure(
    members: Sequence[Member],
    development: Pool,
    test: Pool,
    others: Others,
    storage: Storage,
    classes: int,
    replication: Replication,
) -> list[dict[str, Any]]:
    """Rows of the battery table; the last one of each replicate says that they are whole."""
    routes.configure()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # In a random order: image folders come class by class.
    drawn = np.random.default_rng(derive("battery")).permutation(len(test.labels))[:EXAMINED]
    x, y = _some(test, drawn, device)
    out = []
    for member in members:
        model = member.configuration.model.build(tuple(x.shape[1:]), classes)
        model.load_state_dict(checkpoints.load(storage, member.id).weights)
        model.to(device)
        generator = torch.Generator(device).manual_seed(derive(f"{member.seeds.noise}/battery/full"))
        rows: list[Row] = []
        if isinstance(model, Classifier):  # everything here asks for labels
            rows = _full(model, member, x, y, development, others, classes, replication, generator)
        out += records(member.id, [*rows, (_DONE, None, 1.0)])
    return out


def records(id: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A replicate's rows as the battery table has them."""
    return [{"replicate_id": id, "metric": metric, "x": x, "value": value} for metric, x, value in rows]


def _full(
    model: Classifier,
    member: Member,
    x: torch.Tensor,
    y: torch.Tensor,
    development: Pool,
    others: Others,
    classes: int,
    replication: Replication,
    generator: torch.Generator,
) -> list[Row]:
    rows = outliers.detection(model, x, outliers.pixel_noise(x, generator), "noise")
    for name, images in others.items():
        strange = unit(torch.tensor(images, device=x.device))
        rows += outliers.detection(model, x, strange, name)
    if member.configuration.dataset.label_noise:
        train, _ = development.folded(member, replication.refit)
        seen, true = _some(development, train[:EXAMINED], str(x.device))
        given = torch.from_numpy(development.targets(member, train, classes)[:EXAMINED])
        rows += battery.memorised(model, seen, given.to(x.device), true)
    return rows + attacks.robustness(model, x[:ATTACKED], y[:ATTACKED], replication.samples, generator)


def _some(pool: Pool, index: NDArray[np.int64], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in [0, 1] and their labels."""
    (images,) = Part(pool.pixels(device), torch.from_numpy(index)).split(len(index))
    return unit(images), torch.from_numpy(pool.labels[index]).to(device)
