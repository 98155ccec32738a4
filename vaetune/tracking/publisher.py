"""What is put up once an execution is over: its report, pictures and models, under the runs that it has.

Unlike the values of a running study none of this waits in a spool: it can be published again at any time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vaetune.errors import UserError
from vaetune.tracking import address
from vaetune.tracking.models import Registry, Release
from vaetune.tracking.pictures import Picture
from vaetune.tracking.server import Away, Refused, Server, translated

T = TypeVar("T")

TRIES, WAIT_S = 3, 2.0


class Publisher:
    """An execution's runs at one address. Raises `UserError` for an execution that is not there, or no answer."""

    def __init__(self, uri: str, experiment: str, run: str) -> None:
        self._server = Server(address.checked(uri))
        self._shown = address.shown(uri)
        self._parent = self._patiently(lambda: self._server.open(experiment, lambda: self._found(run)))
        self._children = {k.own_id: k.run_id for k in self._patiently(lambda: self._server.children(self._parent))}
        self._registry = Registry(self._server)
        self._images = self._patiently(lambda: self._listed("images"))

    @property
    def ids(self) -> tuple[str, str]:
        """MLflow's ids of the experiment and of the execution's own run."""
        return self._server.experiment_id, self._parent

    def model(self, release: Release) -> str:
        """Logs and registers a model (once) and returns what is to be said of it."""
        run_id = self._children.get(release.replicate_id)
        if run_id is None:
            raise UserError(
                f"MLflow at {self._shown} has no run of {release.replicate_id}: go on with the execution, which writes "
                "what is missing, then publish"
            )
        return self._patiently(lambda: self._registry.publish(release, run_id))

    def files(self, files: Mapping[str, bytes], folder: str) -> None:
        """Uploads files into a folder of the execution's own run; what lies there under the same name is replaced."""
        with tempfile.TemporaryDirectory() as aside:
            for name, data in files.items():
                Path(aside, name).write_bytes(data)
            self._patiently(lambda: self._server.artifact(self._parent, Path(aside), folder))

    def picture(self, picture: Picture, key: str, step: int) -> None:
        """Shows a picture under `key` at a step, unless there is one."""
        # MLflow's name of an image begins with its key, whose slashes are ~, and its step.
        begin = f"{key.replace('/', '~')}+step+{step}+"
        if any(name.startswith(begin) for name in self._images):
            return

        def log() -> None:
            with translated():
                self._server.client.log_image(self._parent, Image.fromarray(picture), key=key, step=step)

        self._patiently(log)

    def describe(self, tag: str, text: str) -> None:
        """Sets a tag of the experiment."""
        self._patiently(lambda: self._server.describe(tag, text))

    def _found(self, run: str) -> str:
        known = self._server.executions(run)
        if not known:
            raise UserError(f"MLflow at {self._shown} does not know the execution {run}: was it tracked elsewhere?")
        return known[0].run_id

    def _listed(self, folder: str) -> list[str]:
        with translated():
            return [Path(file.path).name for file in self._server.client.list_artifacts(self._parent, folder)]

    def _patiently(self, action: Callable[[], T]) -> T:
        for attempt in range(TRIES):
            try:
                return action()
            except Away as away:
                why = str(away)
                if attempt + 1 < TRIES:
                    time.sleep(WAIT_S)
            except Refused as refused:
                why = str(refused)
                break
        raise UserError(f"MLflow at {self._shown} does not take what is published: {why}")
