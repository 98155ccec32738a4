"""Results to another folder. A file gets its name when it is whole; what is there and whole is not fetched again."""

from __future__ import annotations

from collections.abc import Callable

from vaetune import checkpoints
from vaetune.checkpoints import MANIFEST, CheckpointError
from vaetune.storage import Storage

Read = Callable[[str], bytes]
Fetched = Callable[[str, int], None]
"""Told after each file: its name and its size in bytes."""


def checkpoint(read: Read, id: str, target: Storage, fetched: Fetched, where: str) -> None:
    """The final checkpoint of a member to `target`/checkpoints/<id>, each file checked before it gets its name.

    Its training state stays behind. The manifest comes last, so that what breaks off does not count as a checkpoint and
    goes on where it was. Raises `CheckpointError`, and what `read` raises.
    """
    checkpoints.check_id(id)
    folder = f"checkpoints/{id}"
    try:
        manifest = read(MANIFEST)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{where}: not there (no {MANIFEST}); it is not finished, or an older vaetune published it"
        ) from error
    entries = checkpoints.stated(manifest, where)
    entries.pop(checkpoints.TRAINING, None)
    manifest = checkpoints.portable(manifest)
    if _held(target, f"{folder}/{MANIFEST}") not in (None, manifest):
        target.delete(folder)  # of another training under the same name
    for name, expected in entries.items():
        there = _held(target, f"{folder}/{name}")
        if there is None or not expected.fits(there):
            try:
                data = read(name)
            except FileNotFoundError as error:
                raise CheckpointError(f"{where}: {name} is missing; restore it or train again") from error
            if not expected.fits(data):
                raise CheckpointError(f"{where}: {name} is damaged or was cut short (size or hash differs); try again")
            target.write(f"{folder}/{name}", data)
        fetched(f"{id}/{name}", expected.size)
    target.write(f"{folder}/{MANIFEST}", manifest)


def files(source: Storage, target: Storage, names: list[str], fetched: Fetched) -> None:
    """Files of an execution but its checkpoints. Parts of tables never change and are fetched once, all else always."""
    for name in names:
        there = _held(target, name) if name.startswith("tables/") else None
        data = source.read(name) if there is None else there
        if there is None:
            target.write(name, data)
        fetched(name, len(data))


def listing(source: Storage) -> list[str]:
    """The records, tables and report of an execution, those that are there."""
    out = [name for name in ("study.json", "environment.json") if source.exists(name)]
    out += [f"tables/{table}/{part}" for table in source.list("tables") for part in source.list(f"tables/{table}")]
    return out + [f"report/{name}" for name in source.list("report")]


def _held(target: Storage, name: str) -> bytes | None:
    try:
        return target.read(name)
    except FileNotFoundError:
        return None
