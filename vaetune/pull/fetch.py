"""What `python -m vaetune.pull` does: decides what to bring, brings it, and shows how far it is."""

from __future__ import annotations

import re

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vaetune.errors import UserError
from vaetune.pull import copying, folders
from vaetune.pull.loading import copy_published, published
from vaetune.pull.reaching import reaching
from vaetune.storage import Storage

_NAME = re.compile(r"[\w.-]+")


@reaching
def fetch(source: str, arm: str | None, everything: bool, to: str, storage: str, tracking_uri: str | None) -> None:
    """Brings a result, or published models, below `to`; prints where they are. Raises `UserError`."""
    found = None if folders.is_place(source) else published(source, arm, storage, tracking_uri)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"))
    with Progress(*columns) as progress:
        if found is None:
            folder = folders.execution(source, storage)
            target = _target(to, folders.record(folder))
            _folder(folder, target, arm, everything, progress)
        else:
            shelf, one = found
            target = _target(to, {"name": one.study, "run": one.run})
            task = _Task(progress, f"{one.arm} (MLflow)", 2)
            copy_published(shelf, one, target, task.fetched)
    print(target.uri)


def _folder(folder: Storage, target: Storage, arm: str | None, everything: bool, progress: Progress) -> None:
    """Records and tables first: without them the best replicate of an arm is not known as such."""
    names = [name for name in copying.listing(folder) if arm is None or name == "study.json" or "/replicates/" in name]
    task = _Task(progress, "tables and report", len(names))
    copying.files(folder, target, names, task.fetched)
    ids = folders.members(folder) if everything else [folders.best(folder, a) for a in _arms(folder, arm)]
    task = _Task(progress, "checkpoints", 2 * len(ids))
    for id in ids:
        own = folder.below(f"checkpoints/{id}")
        copying.checkpoint(own.read, id, target, task.fetched, f"checkpoint {own.uri}")


def _arms(folder: Storage, arm: str | None) -> list[str | None]:
    if arm is not None:
        return [arm]
    return sorted(set(folders.measured(folder)["arm"])) or [None]


def _target(to: str, record: dict[str, str]) -> Storage:
    """<to>/<study>/<RUN>; these names come from a file and must be names."""
    study, run = str(record.get("name", "")), str(record.get("run", ""))
    for name in (study, run):
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise UserError(
                f"the result calls its study {study!r} and its run {run!r}, no names of folders; do not use it"
            )
    return Storage(to).below(f"{study}/{run}")


class _Task:
    """A bar of files, with the bytes so far."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._bytes = progress, 0
        self._task = progress.add_task(title, total=total, size="")

    def fetched(self, name: str, size: int) -> None:
        """Moves the bar by one file."""
        self._bytes += size
        self._progress.update(self._task, advance=1, size=f"{self._bytes / 1e6:.1f} MB")
