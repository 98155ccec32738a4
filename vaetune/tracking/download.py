"""A checkpoint out of MLflow: the folder `checkpoint` of a published model, by the model's URI."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
                path = load().artifacts.download_artifacts(
                    artifact_uri=f"{uri.rstrip('/')}/checkpoint", dst_path=folder, tracking_uri=tracking_uri
                )
        except (Away, Denied, Refused) as error:
            raise UserError(f"{uri}: no checkpoint of vaetune to be had from {tracking_uri}: {error}") from error
        return {file.name: file.read_bytes() for file in Path(path).iterdir()}
