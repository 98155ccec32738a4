"""How an execution is run: everything on the command line that is not part of the study."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BATTERIES = ("default", "full")
PHASES = ("search", "select", "replicate", "evaluate", "report", "publish")


@dataclass(frozen=True, kw_only=True)
class Options:
    """None of these changes a number of the study but `seed` and `reproducible`.

    `storage` is a local folder or s3://bucket/prefix; `tracking_uri` None switches tracking off; `address` is a Ray
    cluster's (None: one is started here); `resume` is the RUN of an earlier execution; `extend` is the RUN of a
    finished one, whose replicates a new execution trains on (see `vaetune.study.extend`); `phase` runs one phase only;
    `data_root` is where datasets lie (None: the datasets' own default), `download` allows them to be fetched.
    `battery` "full" adds outliers, attacks and memorisation to what EVALUATE measures.
    """

    preset: str = "default"
    storage: str = "runs"
    tracking_uri: str | None = None
    address: str | None = None
    resume: str | None = None
    extend: str | None = None
    phase: str | None = None
    seed: int = 0
    reproducible: bool = False
    tensorboard: bool = False
    data_root: str | None = None
    download: bool = False
    battery: str = "default"


def tracking_uri(given: str | None, storage: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The tracking server: as given ("none": no tracking), else $MLFLOW_TRACKING_URI, else SQLite in the storage root.

    With a remote storage root the database lies in the local folder runs/, because SQLite needs a file.
    """
    uri = given or environment.get("MLFLOW_TRACKING_URI")
    if uri:
        return None if uri.lower() == "none" else uri
    folder = Path("runs" if "://" in storage else storage).absolute()
    return f"sqlite:///{folder / 'mlflow.db'}"
