"""`load` and `load_all`: from a name, a run id, a folder or an address to models."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vaetune import checkpoints, config
from vaetune.config import ModelConfig
from vaetune.errors import UserError, unknown
from vaetune.pull import copying, folders
from vaetune.pull.pulled import Pulled, configuration
from vaetune.pull.reaching import reaching
from vaetune.storage import Storage
from vaetune.study.options import tracking_uri as default_uri
from vaetune.tracking.shelf import Published, Shelf

_MLFLOW_RUN = re.compile(r"[0-9a-f]{32}")
Where = Mapping[str, Any]


@reaching
def load(
    source: str | os.PathLike[str],
    arm: str | None = None,
    *,
    id: str | None = None,
    device: str = "cpu",
    storage: str = "runs",
    tracking_uri: str | None = None,
    model_class: type[ModelConfig] = ModelConfig,
) -> Pulled:
    """One trained model, ready to encode, decode and predict.

    `source` is a study's name (the arm's champion in MLflow), an id of one of MLflow's runs or the RUN of an execution,
    or the folder or s3:// address of a result. From a result comes the arm's best replicate by validation, or the
    member `id`. MLflow is asked at `tracking_uri`, else at MLFLOW_TRACKING_URI, else in the database beside the results
    in `storage`. Nothing in a file is executed; a checkpoint is checked against the sizes and hashes of its manifest.
    For a model that is not vaetune's own, `model_class` is its configuration. Raises `UserError`.
    """
    options: dict[str, Any] = {"device": device, "model_class": model_class}
    if not folders.is_place(source) and id is None and (found := published(str(source), arm, storage, tracking_uri)):
        return _from_mlflow(*found, **options)
    folder = folders.execution(source, storage)
    return _from_folder(folder, id or folders.best(folder, arm), **options)


@reaching
def load_all(
    source: str | os.PathLike[str],
    where: Where | None = None,
    *,
    device: str = "cpu",
    storage: str = "runs",
    tracking_uri: str | None = None,
    model_class: type[ModelConfig] = ModelConfig,
) -> list[Pulled]:
    """Every model of a result whose parameters are as `where` says; by a study's name, every one in MLflow's registry.

    `where` maps "id", "arm", "phase" ("replicate" or "search") and paths into the configuration, such as "model.beta"
    or "training.epochs", to a value or to a function of the value that says whether it will do:
    `load_all("regularizer_ablation", {"arm": "svae", "model.beta": lambda beta: beta < 0.1})`. Raises `UserError` for a
    path that no model has; else as `load`.
    """
    options: dict[str, Any] = {"device": device, "model_class": model_class}
    wanted = dict(where or {})
    if not folders.is_place(source) and not folders.RUN.fullmatch(str(source)):
        shelf = Shelf(_uri(tracking_uri, storage))
        found = [(p, folders.parsed(shelf.read(p, "config.json"), p.id)) for p in shelf.all(str(source))]
        return [_from_mlflow(shelf, p, **options) for p, facts in _matching(found, wanted, model_class)]
    folder = folders.execution(source, storage)
    read = [(id, folders.config_of(folder, id)) for id in folders.members(folder)]
    return [_from_folder(folder, id, **options) for id, facts in _matching(read, wanted, model_class)]


def published(source: str, arm: str | None, storage: str, uri: str | None) -> tuple[Shelf, Published] | None:
    """The published model of that name; None for an execution whose folder is at hand."""
    if folders.RUN.fullmatch(source):
        root = Storage(storage)
        if any(source in root.list(study) for study in root.list()):
            return None
        shelf = Shelf(_uri(uri, storage))
        return shelf, shelf.of_execution(source, arm)
    shelf = Shelf(_uri(uri, storage))
    return shelf, shelf.of_run(source, arm) if _MLFLOW_RUN.fullmatch(source) else shelf.champion(source, arm)


def _uri(given: str | None, storage: str) -> str:
    uri = default_uri(given, storage)
    if uri is None:
        raise UserError("tracking is off (none): name a server with tracking_uri, or give a folder or s3:// address")
    return uri


def _from_folder(folder: Storage, id: str, **options: Any) -> Pulled:
    if id not in folders.members(folder):
        raise unknown(f"checkpoint in {folder.uri}", id, folders.members(folder))
    facts = folders.record(folder)
    return Pulled(
        checkpoints.load(folder, id),
        where=f"checkpoint {folder.uri}/checkpoints/{id}",
        study=facts.get("name", ""),
        run=facts.get("run", ""),
        metrics=folders.metrics(folder, id),
        storage=folder,
        **options,
    )


def _from_mlflow(shelf: Shelf, published: Published, **options: Any) -> Pulled:
    with tempfile.TemporaryDirectory() as aside:
        where = copy_published(shelf, published, Storage(aside), lambda name, size: None)
        checkpoint = checkpoints.load(Storage(aside), published.id)
    return Pulled(
        checkpoint, where=where, study=published.study, run=published.run, metrics=published.metrics, **options
    )


def copy_published(shelf: Shelf, published: Published, target: Storage, fetched: copying.Fetched) -> str:
    """The checkpoint of a published model into a folder; returns how it is called in messages."""
    where = f"{published.study}-{published.arm} version {published.version} at {shelf.shown}"
    copying.checkpoint(lambda name: shelf.read(published, name), published.id, target, fetched, where)
    return where


def _matching(
    found: list[tuple[Any, dict[str, Any]]], where: Where, model_class: type[ModelConfig]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    facts = [(key, _facts(data, model_class)) for key, data in found]
    known = {path for _, mine in facts for path in mine}
    for path in where:
        if facts and path not in known:
            raise unknown("parameter", path, known)
    for key, mine in facts:
        if all(path in mine and _fits(mine[path], wanted) for path, wanted in where.items()):
            yield key, mine


def _facts(data: dict[str, Any], model_class: type[ModelConfig]) -> dict[str, Any]:
    try:
        named = {name: data[name] for name in ("id", "arm", "phase")}
        found = configuration(data["configuration"], model_class)
    except (KeyError, TypeError) as error:
        raise UserError(f"a checkpoint's config.json lacks {error}: pull or restore it again") from error
    return named | config.flatten(found)


def _fits(value: Any, wanted: Any | Callable[[Any], bool]) -> bool:
    return bool(wanted(value)) if callable(wanted) else bool(value == wanted)
