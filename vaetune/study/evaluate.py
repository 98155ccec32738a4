"""EVALUATE: the only phase that opens the sealed test split, once, for replicates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from vaetune import checkpoints
from vaetune.datasets.batches import Part, Pixels
from vaetune.errors import UserError
from vaetune.evaluation import generative, replicate, special
from vaetune.evaluation.battery import Row
from vaetune.models.base import Classifier, Generative, Model
from vaetune.models.conjoint import Conjoint
from vaetune.seeding import derive
from vaetune.storage import Storage
from vaetune.study import Replication, Resources, health
from vaetune.study.patience import Patience
from vaetune.study.pool import Pool
from vaetune.training import routes
from vaetune.training.seeds import Member

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What some datasets know of their test images.

    `factors`, int64 [N, K]; `exchanged`, uint8 [N, C, H, W], the left images of pairs with another's private part.
    """

    factors: NDArray[np.int64] | None = None
    exchanged: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured on one replicate: its metric columns, its predictions by column, and its `battery`'s rows."""

    member: Member
    metrics: dict[str, float]
    predictions: list[dict[str, Any]]
    parameters: int
    n_train: int
    battery: Sequence[Row] = ()
    reason: str = ""

    def row(self, trained: Any) -> dict[str, Any]:
        """The row of the replicates table, from the member's row `trained` of the ledger."""
        dataset = self.member.configuration.dataset
        return {
            "replicate_id": self.member.id,
            "arm": self.member.arm,
            "replicate": int(trained["number"]),
            "search": int(trained["search"]),
            "seed": self.member.seeds.initial,
            "config_hash": trained["config_hash"],
            "dataset": dataset.name,
            "n_train": self.n_train,
            "label_noise": dataset.label_noise,
            "outcome": "failed" if self.reason else "finished",
            "reason": self.reason,
            "epochs": int(trained["epochs"]),
            "seconds": float(trained["seconds"]),
            "parameters": self.parameters,
        } | self.metrics


def columns(chunk: Sequence[Measured]) -> dict[str, NDArray[Any]]:
    """The predictions of several replicates as columns of the predictions table."""
    parts = [(one.member.id, part) for one in chunk for part in one.predictions]
    lengths = [len(part["example"]) for _, part in parts]
    found = {
        "replicate_id": np.repeat(np.array([id for id, _ in parts], dtype=object), lengths),
        "evaluation": np.repeat(np.array([part["evaluation"] for _, part in parts], dtype=object), lengths),
    }
    for name in dict.fromkeys(name for _, part in parts for name in part if name != "evaluation"):
        found[name] = np.concatenate([part.get(name, _nothing(len(part["example"]))) for _, part in parts])
    return found


def _nothing(n: int) -> NDArray[Any]:
    """A column of what a model that does other things does not have."""
    return np.full(n, None, dtype=object)


def evaluate(
    members: Sequence[Member],
    development: Pool,
    test: Pool,
    storage: Storage,
    classes: int,
    replication: Replication,
    temperatures: Mapping[str, float],
    resources: Resources,
    known: Known,
    interrupted: Callable[[], bool],
    limit: float,
    chunk: int = 5,
) -> Iterator[list[Measured]]:
    """Measures replicates on the cluster, a chunk at a time, as they are done; see `health.tasks`.

    `temperatures`, by arm, are used for replicates that were fitted on their validation images too.
    """
    shared = (ray.put(development), ray.put(test), storage, classes, replication, temperatures, known)
    calls = [(members[i : i + chunk], *shared) for i in range(0, len(members), chunk)]
    yield from health.tasks(_measure, calls, resources, interrupted, limit)


def _measure(
    members: Sequence[Member],
    development: Pool,
    test: Pool,
    storage: Storage,
    classes: int,
    replication: Replication,
    temperatures: Mapping[str, float],
    known: Known,
) -> list[Measured]:
    routes.configure()
    storage = storage.patient(Patience(_log.warning, lambda: False))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pixels, sealed = development.pixels(device), test.pixels(device)

    def part(source: Pixels, index: NDArray[np.int64], labels: NDArray[np.int64]) -> replicate.Split:
        return Part(source, torch.from_numpy(index)), torch.from_numpy(labels).to(device)

    on_test = part(sealed, np.arange(len(test.labels)), test.labels.copy())
    out = []
    for member in members:
        train, validation = development.folded(member, replication.refit)
        # The gap is taken on the labels that the member was trained on.
        fitted = part(pixels, train, development.targets(member, train, classes))
        held_out = part(pixels, validation, development.labels[validation])
        model = member.configuration.model.build(pixels.shape[1:], classes)
        model.load_state_dict(checkpoints.load(storage, member.id).weights)
        generator = torch.Generator(device).manual_seed(derive(f"{member.seeds.noise}/evaluate"))
        parameters = sum(p.numel() for p in model.parameters())
        try:
            metrics, predictions, rows = _scores(
                model.to(device),
                (fitted, held_out, on_test),
                replication.samples,
                generator,
                temperatures.get(member.arm),
            )
            if isinstance(model, Generative):
                seed = derive(f"{member.seeds.noise}/special")
                metrics |= _special(model, on_test, known, replication.ais, seed, predictions[0])
        except FloatingPointError as error:
            lost = replicate.failed(classes) if isinstance(model, Classifier) else {}
            out.append(Measured(member, lost, [], parameters, len(train), reason=f"diverged: {error}"))
            continue
        out.append(Measured(member, metrics, predictions, parameters, len(train), rows))
    return out


def _special(
    model: Generative, test: replicate.Split, known: Known, ais: int, seed: int, rows: dict[str, Any]
) -> dict[str, float]:
    """What only some data or studies let measure; losses of single images become columns of `rows`."""
    found: dict[str, float] = {}
    losses: dict[str, torch.Tensor] = {}
    if known.factors is not None:
        found |= special.disentangled(model, test, known.factors, seed)
    if known.exchanged is not None and isinstance(model, Conjoint):
        losses["transfer_error"] = special.transfer_errors(model, test, known.exchanged)
    if ais:
        device = test[1].device
        losses["neg_ais"] = special.neg_ais(model, test, ais, torch.Generator(device).manual_seed(seed))
    for name, values in losses.items():
        column = np.full(len(test[1]), np.nan, np.float32)
        column[: len(values)] = values.cpu().numpy()
        rows[name] = column
        found[f"test/{name}"] = float(values.mean())
    return found


def _scores(
    model: Model,
    splits: tuple[replicate.Split, replicate.Split, replicate.Split],
    samples: int,
    generator: torch.Generator,
    temperature: float | None,
) -> tuple[dict[str, float], list[dict[str, Any]], list[Row]]:
    """What the model's tasks allow to measure; one that predicts labels and decodes has both in one row an image."""
    metrics: dict[str, float] = {}
    predictions: list[dict[str, Any]] = []
    rows: list[Row] = []
    if isinstance(model, Classifier):
        metrics, predictions, rows = replicate.evaluate(model, *splits, samples, generator, temperature)
    if isinstance(model, Generative):
        bounds, images = generative.evaluate(model, *splits, samples, generator)
        at_the_mean, *sampled = predictions or [{}]
        metrics, predictions = bounds | metrics, [images[0] | at_the_mean, *sampled]
    if not predictions:
        raise UserError(f"model {model.config.kind!r} neither predicts nor decodes: there is nothing to measure")
    return metrics, predictions, rows
