"""Models in MLflow: logged under a replicate's run, registered by study and arm, with the champion's alias.

What is logged is made for serving and looking at; the source of truth is the checkpoint (safetensors and
configuration), which lies beside it in the folder `checkpoint`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vaetune.tracking.parts import Part
from vaetune.tracking.server import Server, load, translated

CHAMPION = "champion"
"""The alias of the version that a new execution has to beat."""


@dataclass(frozen=True)
class Release:
    """An arm's best replicate and what is said about it.

    `score` is what the executions are compared by, smaller is better where `minimize`; `basis` names everything that
    must be the same for two scores to be comparable. `files` go into the folder `checkpoint`.
    """

    study: str
    arm: str
    run: str
    replicate_id: str
    parts: Mapping[str, Part]
    files: Mapping[str, bytes]
    card: str
    score: float
    minimize: bool
    basis: str

    @property
    def name(self) -> str:
        """The name in the registry."""
        return f"{self.study}-{self.arm}"


class Registry:
    """Models of one opened `Server`. Every method raises `Away` or `Refused` and may be called again."""

    def __init__(self, server: Server) -> None:
        self._client = server.client
        self._experiment_id = server.experiment_id
        with translated():
            self._mlflow = load()

    def publish(self, release: Release, run_id: str) -> str:
        """Logs and registers a release once and moves the alias if it is better; returns what became of that."""
        with translated():
            return self._crown(release, self._version(release) or self._register(release, run_id))

    def _version(self, release: Release) -> Any:
        """The version that this execution registered before, or None."""
        found = self._client.search_model_versions(f"name = '{release.name}'", max_results=1000)
        return next((v for v in found if v.tags.get("vaetune.run") == release.run), None)

    def _register(self, release: Release, run_id: str) -> Any:
        models = {name: self._log(release, name, part, run_id) for name, part in release.parts.items()}
        main = next(iter(models.values()))
        tags = {
            "vaetune.run": release.run,
            "vaetune.arm": release.arm,
            "vaetune.id": release.replicate_id,
            "vaetune.score": repr(release.score),
            "vaetune.basis": release.basis,
            **{f"vaetune.{name}": f"models:/{model.model_id}" for name, model in models.items()},
        }
        self._make(release)
        return self._client.create_model_version(
            release.name,
            # Not models:/<id>: a database is then asked at MLflow's process-wide address, which may be another.
            source=main.artifact_location,
            run_id=run_id,
            model_id=main.model_id,
            tags=tags,
            description=release.card,
            await_creation_for=0,
        )

    def _make(self, release: Release) -> None:
        try:
            self._client.create_registered_model(
                release.name,
                tags={"vaetune.study": release.study, "vaetune.arm": release.arm},
                description=f"Arm {release.arm} of the study {release.study}: a version for each execution.",
            )
        except self._mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log(self, release: Release, name: str, part: Part, run_id: str) -> Any:
        """Logs one part, unless a publication that broke off has; returns MLflow's model."""
        title = f"{release.arm}-{name}"
        before = self._client.search_logged_models(
            [self._experiment_id], f"name = '{title}' AND source_run_id = '{run_id}'"
        )
        for model in before:
            if model.status == "READY":
                return model
            self._client.delete_logged_model(model.model_id)
        logged = self._client.create_logged_model(
            self._experiment_id,
            name=title,
            source_run_id=run_id,
            model_type=name,
            tags={"vaetune.run": release.run, "vaetune.arm": release.arm, "vaetune.id": release.replicate_id},
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            self._save(path, part, run_id, logged.model_id)
            (path / "README.md").write_text(release.card)
            (path / "checkpoint").mkdir()
            for file, data in release.files.items():
                (path / "checkpoint" / file).write_bytes(data)
            self._client.log_model_artifacts(logged.model_id, str(path))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(run_id, [self._mlflow.entities.LoggedModelOutput(logged.model_id, 0)])
        return logged

    def _save(self, path: Path, part: Part, run_id: str, model_id: str) -> None:
        mlflow = self._mlflow
        examples = {name: x.numpy(force=True) for name, x in part.examples.items()}
        outputs = part.module(*part.examples.values()).numpy(force=True)
        only = len(examples) == 1  # MLflow's generic loader takes one tensor without a name, or none at all
        signature = mlflow.models.ModelSignature(
            mlflow.types.Schema([self._spec(x, None if only else name) for name, x in examples.items()]),
            mlflow.types.Schema([self._spec(outputs, None)]),
        )
        mlflow.pytorch.save_model(
            part.module,
            str(path),
            mlflow_model=mlflow.models.Model(run_id=run_id, model_id=model_id),
            signature=signature,
            input_example=next(iter(examples.values())) if only else tuple(examples.values()),
            # Given, because MLflow finds them by loading the model in another process, which takes half a minute.
            pip_requirements=[f"{name}=={_public(name)}" for name in ("torch", "numpy")],
        )

    def _spec(self, batch: NDArray[Any], name: str | None) -> Any:
        return self._mlflow.types.TensorSpec(batch.dtype, (-1, *batch.shape[1:]), name)

    def _crown(self, release: Release, version: Any) -> str:
        """Moves the alias to a better version; what is said of it."""
        try:
            champion = self._client.get_model_version_by_alias(release.name, CHAMPION)
        except self._mlflow.exceptions.MlflowException as error:
            # A model without the alias answers INVALID_PARAMETER_VALUE.
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            champion = None
        if champion is not None and champion.version == version.version:
            return "champion before and after"
        if champion is not None:
            if champion.tags.get("vaetune.basis") != release.basis:
                return "not the champion, because that was scored on other data or by another metric"
            best = float(champion.tags["vaetune.score"])
            if not (release.score < best if release.minimize else release.score > best):
                return "not better than the champion"
        self._client.set_registered_model_alias(release.name, CHAMPION, version.version)
        return "new champion"


def _public(package: str) -> str:
    """A version without its local part (+cu132): that one is in no index."""
    return metadata.version(package).partition("+")[0]
