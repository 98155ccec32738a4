"""The images that a run saw, as MLflow's datasets: equal digests mean equal images and labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from vaetune.config import DatasetConfig


@dataclass(frozen=True)
class Input:
    """A dataset of a run: its `context` is what it served for, `rows` how many images it has."""

    name: str
    digest: str
    context: str
    source: str
    rows: int

    @property
    def profile(self) -> str:
        """What MLflow shows of it."""
        return json.dumps({"images": self.rows})

    def event(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def development(dataset: DatasetConfig, digest: str, seed: int, labels: int, sizes: tuple[int, int]) -> list[Input]:
    """The training and the validation images that the seeds of split and label noise pick.

    `digest` is that of all development images, `sizes` the numbers of training and validation images.
    """
    parts = (("training", f"{dataset.label_noise}/{labels if dataset.label_noise else ''}"), ("validation", ""))
    return [
        Input(
            f"{dataset.name}/{context}",
            _short(f"{digest}/{context}/{seed}/{dataset.n_validation}/{dataset.n_train}/{noise}"),
            context,
            dataset.name,
            rows,
        )
        for (context, noise), rows in zip(parts, sizes, strict=True)
        if rows
    ]


def whole(name: str, digest: str, context: str, rows: int) -> Input:
    """All images of a split, by their own digest."""
    return Input(f"{name}/{context}", digest[:32], context, name, rows)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]  # MLflow takes 36
