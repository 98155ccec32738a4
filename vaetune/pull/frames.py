"""The tables of an execution as pandas frames."""

from __future__ import annotations

import os
from typing import NamedTuple

import pandas as pd

from vaetune.pull import folders
from vaetune.pull.reaching import reaching
from vaetune.tables import Tables


class Frames(NamedTuple):
    """One row a trial or replicate that was trained; one an epoch and metric; one a replicate with its measures."""

    ledger: pd.DataFrame
    history: pd.DataFrame
    replicates: pd.DataFrame


@reaching
def tables(source: str | os.PathLike[str], storage: str = "runs") -> Frames:
    """Ledger, history and replicates of an execution, while it runs or later; what was written twice is there once.

    `source` is the execution's folder or s3:// address, its RUN, or a study's name (then its latest execution below
    `storage`). Errors are fractions, likelihoods nats per example, times UTC. Raises `UserError`.
    """
    found = Tables(folders.execution(source, storage))
    return Frames(
        found.read("ledger").drop_duplicates("trial_id", keep="last").reset_index(drop=True),
        found.read("history").drop_duplicates(["member_id", "epoch", "metric"], keep="last").reset_index(drop=True),
        found.read("replicates").drop_duplicates("replicate_id", keep="last").reset_index(drop=True),
    )
