"""A checkpoint out of MLflow: the folder `checkpoint` of a published model, by the model's URI."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from vaetune.errors import UserError
from vaetune.tracking.server import Away, Denied, Refused, load, translated

SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def checkpoint(uri: str, tracking_uri: str | None) -> dict[str, bytes]:
    """The files of `models:/STUDY-ARM@champion` and the like, by name; raises `UserError`."""
    if tracking_uri is None:
        raise UserError(f"{uri} is in MLflow, and tracking is off: name its server with --tracking-uri")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with translated():
                mlflow = load()
                place = _location(mlflow.MlflowClient(tracking_uri), uri.rstrip("/"))
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{place}/checkpoint", dst_path=folder, tracking_uri=tracking_uri
                )
        except (Away, Denied, Refused) as error:
            raise UserError(f"{uri}: no checkpoint of vaetune to be had from {tracking_uri}: {error}") from error
        return {file.name: file.read_bytes() for file in Path(path).iterdir()}


def _location(client: Any, uri: str) -> str:
    """Where a model's files lie. MLflow itself would look models:/ up at its process-wide address."""
    if not uri.startswith("models:/"):
        return uri
    name, at, alias = uri.removeprefix("models:/").partition("@")
    name, slash, version = name.partition("/")
    if at:
        version = client.get_model_version_by_alias(name, alias).version
    elif not slash:
        return str(client.get_logged_model(name).artifact_location)
    return str(client.get_model_version_download_uri(name, version))
