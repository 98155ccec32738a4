"""Checkpoints that a study's models begin from: fetched by the driver, once, into the execution, and read by workers.

So every worker has them, and an execution can be resumed when their source is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaetune import checkpoints
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Study
from vaetune.study.space import combined, configuration, draws

if TYPE_CHECKING:
    from torch import Tensor


def fetch(study: Study, storage: Storage, tracking_uri: str | None) -> None:
    """Copies what the configurations name, a folder's path, an s3:// or an MLflow URI; raises `UserError`."""
    configurations = (configuration(study, arm, o) for arm in study.arms for _, o in draws(combined(study, arm)))
    for uri in dict.fromkeys(c.training.pretrained for c in configurations):
        if not uri or storage.exists(f"{_folder(uri)}/{checkpoints.WEIGHTS}"):
            continue
        files = _files(uri, tracking_uri)
        checkpoints.decode(files, uri)
        for name in sorted(files, key=lambda name: name == checkpoints.WEIGHTS):  # last: it says that all are there
            storage.write(f"{_folder(uri)}/{name}", files[name])


def weights(storage: Storage, uri: str) -> Mapping[str, Tensor]:
    """The weights that `fetch` has put there."""
    names = (checkpoints.CONFIG, checkpoints.WEIGHTS)
    files = {name: storage.read(f"{_folder(uri)}/{name}") for name in names}
    return checkpoints.decode(files, uri).weights


def _folder(uri: str) -> str:
    return f"pretrained/{hashlib.sha256(uri.encode()).hexdigest()[:16]}"


def _files(uri: str, tracking_uri: str | None) -> dict[str, bytes]:
    from vaetune.tracking import download

    if uri.startswith(download.SCHEMES):
        found = download.checkpoint(uri, tracking_uri)
    else:
        found = {}
        for name in (checkpoints.CONFIG, checkpoints.WEIGHTS):
            try:
                found[name] = Storage(uri).read(name)
            except FileNotFoundError:
                continue
    if absent := {checkpoints.CONFIG, checkpoints.WEIGHTS} - found.keys():
        raise UserError(
            f"training.pretrained = {uri!r} is no checkpoint: it has no {' and no '.join(sorted(absent))}; name a "
            "folder such as runs/STUDY/RUN/checkpoints/svae-rep00, or models:/STUDY-ARM@champion"
        )
    return {name: found[name] for name in (checkpoints.CONFIG, checkpoints.WEIGHTS)}
