"""Where an execution's folder is, and which replicate of an arm is best: all by what the execution left behind."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pandas as pd

from vaetune import config
from vaetune.errors import UserError, unknown
from vaetune.storage import Storage
from vaetune.study import Objective
from vaetune.study.select import best_replicate
from vaetune.tables import Tables

RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
"""What an execution's id looks like."""


def is_place(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a folder or an address, and not the name of a study or a run."""
    return not isinstance(source, str) or "/" in source or source.startswith((".", "~"))


def execution(source: str | os.PathLike[str], storage: str = "runs") -> Storage:
    """The folder of an execution: given itself, by its study's folder or name (then the latest), or by its RUN.

    Names and RUNs are looked up below the root `storage`. Raises `UserError` that says where it looked.
    """
    if is_place(source):
        here = Storage(source)
        if here.exists("study.json") or here.exists("checkpoints"):
            return here
        if runs := _runs(here):
            return here.below(runs[-1])
        raise UserError(
            f"{here.uri} is no result: expected study.json in it or in a folder below; give <storage>/<study>/<RUN>"
        )
    name, root = str(source), Storage(storage)
    if RUN.fullmatch(name):
        for study in root.list():
            if name in _runs(root.below(study)):
                return root.below(f"{study}/{name}")
        raise UserError(f"there is no run {name} below {root.uri}: name another root with storage, or give its folder")
    studies = [study for study in root.list() if _runs(root.below(study))]
    if name not in studies:
        if not studies:
            raise UserError(f"there is no result below {root.uri}: run a study, or name the root with storage")
        raise unknown(f"study below {root.uri}", name, studies)
    return root.below(f"{name}/{_runs(root.below(name))[-1]}")


def record(folder: Storage) -> dict[str, Any]:
    """study.json of an execution; empty where a checkpoint was pulled without it."""
    try:
        data = folder.read("study.json")
    except FileNotFoundError:
        return {}
    return parsed(data, f"{folder.uri}/study.json")


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object; raises `UserError` that says where it is damaged."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise UserError(f"{where} is damaged: {error}; pull or restore it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is damaged: it holds no object; pull or restore it again")
    return found


def measured(folder: Storage) -> pd.DataFrame:
    """The finished replicates, one row each."""
    rows = Tables(folder).read("replicates").drop_duplicates("replicate_id", keep="last")
    return rows[rows["outcome"] == "finished"]


def members(folder: Storage) -> list[str]:
    """The ids of all members with a checkpoint."""
    return [id for id in folder.list("checkpoints") if folder.exists(f"checkpoints/{id}/manifest.json")]


def best(folder: Storage, arm: str | None) -> str:
    """The id of an arm's best replicate by validation; with `arm` None that of the only arm there is."""
    rows = measured(folder)
    if rows.empty:
        return _single(folder, arm)
    arms = sorted(set(rows["arm"]))
    if arm is None and len(arms) == 1:
        (arm,) = arms
    if arm is None:
        raise UserError(f"which arm of {folder.uri}? {', '.join(arms)}")
    if arm not in arms:
        raise unknown(f"arm with a finished replicate in {folder.uri}", arm, arms)
    objective = config.from_json(Objective, record(folder)["objective"], "objective.")
    return best_replicate(rows[rows["arm"] == arm], objective)


def metrics(folder: Storage, id: str) -> dict[str, float]:
    """What EVALUATE measured on a replicate; empty for any other member."""
    rows = measured(folder)
    mine = rows[rows["replicate_id"] == id]
    if mine.empty:
        return {}
    row = mine.iloc[-1]
    return {str(name): float(value) for name, value in row.items() if "/" in str(name) and pd.notna(value)}


def _single(folder: Storage, arm: str | None) -> str:
    """Without a table of replicates, as where one model was pulled from MLflow: the only checkpoint of the arm."""
    found = [id for id in members(folder) if arm is None or _arm(folder, id) == arm]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{folder.uri} has no checkpoint{f' of the arm {arm}' if arm else ''}: is its study finished?")
    raise UserError(
        f"{folder.uri} has {len(found)} checkpoints and no measured replicates: name one with id, {found[0]!r}"
    )


def _arm(folder: Storage, id: str) -> str:
    return str(config_of(folder, id).get("arm", ""))


def config_of(folder: Storage, id: str) -> dict[str, Any]:
    """A checkpoint's config.json, not yet checked against its manifest."""
    name = f"checkpoints/{id}/config.json"
    return parsed(folder.read(name), f"{folder.uri}/{name}")


def _runs(study: Storage) -> list[str]:
    return [name for name in study.list() if RUN.fullmatch(name) and study.exists(f"{name}/study.json")]
