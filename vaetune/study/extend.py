"""`--extend RUN`: a new execution whose replicates go on where those of a finished one ended.

It takes over the search and the selection of RUN, and finds RUN's replicates as its own that are still in training: to
extend is to resume with a greater length. So the numbers are those of a run that had that length from the start. That
holds where no epoch of RUN depended on the length, and so a cosine schedule and models that train in stages are
refused. Who stopped early, by `training.patience`, has ended, as it would have in the longer run; who failed begins
anew. RUN is only read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint
from vaetune.config import Configuration, override, to_json
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Study, execution
from vaetune.study.entries import parse, replications
from vaetune.study.execution import Execution
from vaetune.study.load import Loaded
from vaetune.study.members import identity, replicate_id
from vaetune.study.options import Options
from vaetune.tables import Tables
from vaetune.training.seeds import Member

EXTRA = "replication.extra_epochs"


def check(loaded: Loaded, study: Study, options: Options, dataset_info: Mapping[str, Any]) -> int:
    """The epochs by which each replicate of RUN is extended; raises `UserError` where it cannot be, before anything."""
    run = options.extend
    assert run is not None
    source, before = execution.recorded(options.storage, study.name, run)
    now = execution.resolved(loaded, study, options, run, dataset_info)
    if changed := [path for path in execution.changes(before, now) if path not in (EXTRA, "extends")]:
        raise UserError(
            f"run {run} cannot be extended with another {', '.join(changed)}: only {EXTRA} may differ; give the study "
            f"file and the flags it was started with (preset {before.get('preset')}, seed {before.get('seed')})"
        )
    longer = study.replication.extra_epochs - int(before["replication"].get("extra_epochs", 0))
    if longer < 1:
        raise UserError(
            f"run {run} has {EXTRA} = {study.replication.extra_epochs - longer}, and this would have "
            f"{study.replication.extra_epochs}: say how far it is to go, such as --set {EXTRA}="
            f"{study.replication.extra_epochs - longer + 10}"
        )
    for member, outcome in _replicates(study, options.seed, source):
        if outcome == "finished":
            _extensible(study, member, source)
    return longer


def take_over(ex: Execution, options: Options, say: Callable[[str], None]) -> None:
    """Fills a new execution, or one whose driver died at that, with what it goes on from.

    The ledger comes last: once it is there, everything is.
    """
    source, _ = execution.recorded(options.storage, ex.study.name, ex.extends)
    for folder in ("pretrained", "snapshots"):
        for owner in source.list(folder):
            for name in source.list(f"{folder}/{owner}"):
                path = f"{folder}/{owner}/{name}"
                ex.storage.write(path, source.read(path))
    on = 0
    for member, outcome in _replicates(ex.study, options.seed, source):
        if outcome == "finished":
            on += _hand_over(ex.study, member, source, ex.storage)
    ledger = Tables(source).read("ledger")
    before = ledger[ledger["phase"] != "replicate"]
    if ex.tables.read("history").empty:
        ex.tables.adopt(Tables(source), "history", "member_id", set(before["trial_id"]))
    ex.tables.adopt(Tables(source), "ledger", "phase", set(before["phase"]))
    say(f"extends run {ex.extends}: {on} of its replicates train on")


def _replicates(study: Study, root: int, source: Storage) -> Iterator[tuple[Member, str]]:
    """The replicates as they are to become, and how they ended in RUN."""
    ledger = Tables(source).read("ledger").drop_duplicates("trial_id", keep="last")
    outcomes = ledger[ledger["phase"] == "replicate"].set_index("trial_id")["outcome"]
    for arm in study.arms:
        mine = ledger[ledger["arm"] == arm.name]
        found = replications(study, root, arm, mine) if (mine["phase"] == "replicate").any() else []
        ids = [entry.member.id for entry in found] or [replicate_id(arm.name, 0)]
        if absent := [id for id in ids if id not in outcomes.index]:
            raise UserError(
                f"{source.uri} is not finished: {absent[0]} was not trained; go on with it first, by --resume"
            )
        yield from ((entry.member, str(outcomes[entry.member.id])) for entry in found)


def _extensible(study: Study, member: Member, source: Storage) -> None:
    """Raises `UserError` for a replicate that cannot be trained on so that nobody could tell."""
    where = f"checkpoints/{member.id}"
    kept = checkpoints.load(source, member.id).config
    if _old(study, kept) == member.configuration:
        return
    with torch.device("meta"):
        model = member.configuration.model.build(tuple(kept["shape"]), kept["classes"])
    cannot = ""
    if member.configuration.training.schedule == "cosine":
        cannot = "its learning rate follows a cosine (training.schedule) to an end that has been reached"
    elif len(model.stages) > 1:
        cannot = "its model trains in stages, which are shares of the whole length"
    elif not kept["reason"] and not source.exists(f"{where}/{checkpoints.TRAINING}"):
        cannot = "its checkpoint has no training state, being older than that or a copy"
    if cannot:
        raise UserError(
            f"{member.id} cannot be extended: {cannot}. A new run can begin from its weights, with fresh moments: "
            f"training.pretrained={source.uri}/{where}"
        )


def _hand_over(study: Study, member: Member, source: Storage, target: Storage) -> bool:
    """Puts a replicate's checkpoint where its successor finds it; returns whether that one trains on."""
    found = checkpoints.load(source, member.id, training=True)
    old = _old(study, found.config)
    longer = override(old, {"training.epochs": member.configuration.training.epochs})
    if longer != member.configuration or found.config["seeds"] != asdict(member.seeds):
        raise UserError(
            f"{source.uri}/checkpoints/{member.id} is of another configuration or other seeds than this vaetune would "
            "train: extend it with the vaetune that made it"
        )
    ended = old == member.configuration or bool(found.config["reason"])
    config = found.config | {
        "configuration": to_json(member.configuration),
        "identity": identity(member),
        "outcome": found.config["outcome"] if ended else "",
    }
    write = checkpoints.save if ended else checkpoints.save_partial
    write(target, member.id, Checkpoint(config, found.weights, found.training))
    return not ended


def _old(study: Study, kept: Mapping[str, Any]) -> Configuration:
    return parse(study, json.dumps(kept["configuration"]))
