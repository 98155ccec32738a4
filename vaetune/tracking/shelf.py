"""The way back out of MLflow: which models were published, and the files of their checkpoints."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vaetune.errors import UserError, unknown
from vaetune.tracking import address
from vaetune.tracking.models import CHAMPION
from vaetune.tracking.server import Away, Refused, load, translated

T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """A version in the registry: the replicate `id` of an `arm` in the execution `run`, its metrics and its place."""

    study: str
    arm: str
    run: str
    id: str
    version: str
    metrics: dict[str, float]
    source: str


class Shelf:
    """What is published at one address. Every method raises `UserError` for what the person can mend."""

    def __init__(self, uri: str) -> None:
        self.uri = address.checked(uri)
        self.shown = address.shown(uri)
        if (
            self.uri.startswith("sqlite:") and not address.database(self.uri).is_file()
        ):  # MLflow would make an empty one
            raise UserError(
                f"there is no MLflow database {address.database(self.uri)}: run a study first, name a server with "
                "tracking_uri or MLFLOW_TRACKING_URI, or give the result's folder or s3:// address"
            )
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._mlflow = load()
        self._client: Any = self._asked(lambda: self._mlflow.MlflowClient(self.uri))

    def champion(self, study: str, arm: str | None) -> Published:
        """The version of an arm that bears the alias; with `arm` None that of the study's only arm."""
        names = self.arms(study)
        if arm is None and len(names) == 1:
            (arm,) = names
        if arm is None:
            raise UserError(f"which arm of {study}? {self.shown} has {', '.join(names)}")
        if arm not in names:
            raise unknown(f"arm of {study} at {self.shown}", arm, names)
        name = f"{study}-{arm}"
        found = self._asked(lambda: self._client.get_registered_model(name))
        if CHAMPION not in found.aliases:
            raise UserError(f"{name} at {self.shown} has no version with the alias {CHAMPION}: publish the study again")
        return self._published(self._asked(lambda: self._client.get_model_version(name, found.aliases[CHAMPION])))

    def arms(self, study: str) -> list[str]:
        """The arms of a study that have published models."""
        models = self._asked(lambda: self._pages(lambda **k: self._client.search_registered_models(**k)))
        studies: dict[str, list[str]] = {}
        for model in models:
            tags = dict(model.tags)
            if "vaetune.study" in tags:
                studies.setdefault(tags["vaetune.study"], []).append(tags["vaetune.arm"])
        if not studies:
            raise UserError(f"MLflow at {self.shown} has no published model: let a study run to its end, or publish it")
        if study not in studies:
            raise unknown(f"study at {self.shown}", study, studies)
        return sorted(studies[study])

    def all(self, study: str) -> list[Published]:
        """Every published version of a study's arms, the oldest of each arm first."""
        out = []
        for arm in self.arms(study):
            name = f"{study}-{arm}".replace("'", "")
            found = self._versions(f"name = '{name}'")
            out += [self._published(version) for version in sorted(found, key=lambda v: int(v.version))]
        return out

    def of_run(self, run_id: str, arm: str | None) -> Published:
        """What MLflow's run `run_id` published: a replicate's run its model, an execution's run that of an arm."""
        run = self._asked(lambda: self._client.get_run(run_id))
        own = run.data.tags.get("vaetune.id", "")
        kind = run.data.tags.get("vaetune.kind", "")
        wanted = f"tags.`vaetune.run` = '{own}'" if kind == "execution" else f"run_id = '{run_id}'"
        return self._one(self._versions(wanted), f"MLflow's run {run_id} ({kind or 'none of vaetune'} {own})", arm)

    def of_execution(self, run: str, arm: str | None) -> Published:
        """What the execution `run` published of an arm."""
        return self._one(self._versions(f"tags.`vaetune.run` = '{run}'"), f"run {run}", arm)

    def read(self, published: Published, name: str) -> bytes:
        """A file of the checkpoint of a published model; raises FileNotFoundError."""

        def download() -> bytes:
            with tempfile.TemporaryDirectory() as aside:
                path = self._mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{published.source.rstrip('/')}/checkpoint/{name}",
                    dst_path=aside,
                    tracking_uri=self.uri,
                )
                return Path(path).read_bytes()

        try:
            with translated():
                return download()
        except (Away, Refused) as error:
            # The proxy's answer to what is not there looks like one that failed.
            if name not in self._listed(published):
                raise FileNotFoundError(name) from error
            raise UserError(
                f"MLflow at {self.shown} does not give {name} of {published.id} ({error}); try again"
            ) from error

    def _listed(self, published: Published) -> list[str]:
        """The names of the files of a published checkpoint."""
        place = f"{published.source.rstrip('/')}/checkpoint"
        found = self._asked(lambda: self._mlflow.artifacts.list_artifacts(artifact_uri=place, tracking_uri=self.uri))
        return [Path(file.path).name for file in found]

    def _one(self, versions: list[Any], what: str, arm: str | None) -> Published:
        found = {p.arm: p for p in map(self._published, versions)}
        if not found:
            raise UserError(
                f"{what} at {self.shown} has no published model: the best replicate of each arm is published when a "
                "study ends"
            )
        if arm is None and len(found) == 1:
            (arm,) = found
        if arm is None:
            raise UserError(f"which arm of {what}? {', '.join(sorted(found))}")
        if arm not in found:
            raise unknown(f"arm of {what}", arm, found)
        return found[arm]

    def _published(self, version: Any) -> Published:
        tags = dict(version.tags)
        arm = tags["vaetune.arm"]
        run = self._asked(lambda: self._client.get_run(version.run_id))
        return Published(
            version.name.removesuffix(f"-{arm}"),
            arm,
            tags["vaetune.run"],
            tags["vaetune.id"],
            str(version.version),
            dict(run.data.metrics),
            str(version.source),
        )

    def _versions(self, condition: str) -> list[Any]:
        found = self._asked(lambda: self._pages(lambda **k: self._client.search_model_versions(condition, **k)))
        return [version for version in found if "vaetune.id" in version.tags]

    def _pages(self, search: Callable[..., Any]) -> list[Any]:
        page = search()
        out = list(page)
        while page.token:
            page = search(page_token=page.token)
            out += page
        return out

    def _asked(self, action: Callable[[], T]) -> T:
        try:
            with translated():
                return action()
        except (Away, Refused) as error:
            raise UserError(f"MLflow at {self.shown}: {error}") from error
