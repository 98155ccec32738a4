"""The driver's memory: every epoch and every end of a member goes to the tables, the tracker and the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vaetune import config
from vaetune.datasets.splits import trained
from vaetune.seeding import derive
from vaetune.study import Objective
from vaetune.study.board import Board
from vaetune.study.console import Console
from vaetune.tables import Tables
from vaetune.tracking import Tracker, inputs
from vaetune.training.seeds import Member

FLUSH_EVERY = 2.0
"""Seconds between parts of the tables. What a killed driver has not flushed, checkpoints tell again."""


@dataclass
class Entry:
    """A member under way, and what the ledger will say about it.

    It has `started` (milliseconds) and `began` (monotonic seconds) once the recorder was told. `selected` is the hash
    of the configuration that was selected, for a replicate, which may train at another length.
    """

    member: Member
    phase: str
    group_id: str
    slice: str = ""
    search: int = 0
    number: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    selected: str = ""
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    started: int = 0
    began: float = 0.0

    def spent(self, members: int) -> float:
        """Its share, in seconds, of what a group of that many has had a worker for: what is lost with the worker."""
        return (time.monotonic() - self.began) / members


@dataclass(frozen=True)
class Data:
    """What the tracker needs to know of the study.

    The digest of the development images, how many of them there are and their groups, whether replicates are fitted on
    validation images too, and how many replicates of an arm are charted.
    """

    digest: str
    images: int
    groups: NDArray[np.int64] | None
    refit: bool
    charted: int

    def seen(self, member: Member, replicate: bool) -> list[inputs.Input]:
        """The images that a member sees, for the tracker."""
        dataset = member.configuration.dataset
        held_out = 0 if self.refit and replicate else dataset.n_validation
        n_train = trained(self.images, held_out, dataset.n_train, self.groups)
        return inputs.development(
            replace(dataset, n_validation=held_out),
            self.digest,
            derive(f"{member.seeds.split}/{member.fold}") if member.fold else member.seeds.split,
            member.seeds.labels,
            (n_train, held_out),
        )


class Recorder:
    """Writes each epoch and each end once, however often a worker that was replaced tells them."""

    def __init__(
        self,
        tables: Tables,
        tracker: Tracker,
        console: Console,
        objective: Objective,
        board: Board | None = None,
        data: Data | None = None,
    ) -> None:
        self._data = data
        self._tables, self._tracker, self._console, self._objective = tables, tracker, console, objective
        self._board = board or Board()
        self._history: list[dict[str, Any]] = []
        self._ledger: list[dict[str, Any]] = []
        self._ended: list[dict[str, Any]] = []
        self._earlier = tables.read("ledger")
        self._again: set[str] = set()
        self._flushed = time.monotonic()
        before = tables.read("history")
        keys = zip(before["member_id"], before["epoch"], before["metric"], strict=True)
        self._written: dict[tuple[str, int, str], str] = dict(zip(keys, map(repr, before["value"]), strict=True))
        self.open: dict[str, Entry] = {}

    def forget(self, ids: Collection[str]) -> None:
        """Counts these as not yet trained, because their weights are gone; their rows are written already."""
        self._again |= set(ids)
        ledger = self.ledger()
        self._earlier = ledger[~ledger["trial_id"].isin(self._again)]

    def begin(self, entry: Entry) -> None:
        """A member starts, or goes on."""
        self.open[entry.member.id] = entry
        entry.started, entry.began = time.time_ns() // 1_000_000, time.monotonic()  # now, and not when it was queued
        member = entry.member
        kind = "replicate" if entry.phase == "replicate" else "trial"
        tags = {"vaetune.kind": kind, "vaetune.arm": member.arm, "vaetune.phase": entry.phase}
        tags |= {"vaetune.seed": str(member.seeds.initial)} | ({"vaetune.slice": entry.slice} if entry.slice else {})
        if self._data and kind == "replicate" and entry.number < self._data.charted:
            tags["vaetune.charted"] = "true"
        params = {"arm": member.arm, "seed": member.seeds.initial} | config.flatten(member.configuration)
        self._tracker.begin(member.id, member.id, tags, params, entry.started)
        if self._data:
            self._tracker.inputs(member.id, self._data.seen(member, kind == "replicate"))

    def epochs(self, id: str, epochs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Takes in a member's epochs; returns those that are news to this driver."""
        entry = self.open[id]
        new = [e for e in epochs if e["epoch"] > entry.epoch]
        if new:
            self._console.advance(entry.member.arm, new[-1]["epoch"] - entry.epoch)
            entry.epoch, entry.metrics = new[-1]["epoch"], dict(new[-1]["metrics"])
        rows = [(name, float(value), e["epoch"], e["time"]) for e in new for name, value in e["metrics"].items()]
        # By value: who was under way when an earlier run died may begin again with another configuration.
        unwritten = [row for row in rows if self._written.get((id, row[2], row[0])) != repr(row[1])]
        self._history += [
            {
                "member_id": id,
                "epoch": epoch,
                "metric": name,
                "value": value,
                "time": datetime.fromtimestamp(at / 1000, UTC),
            }
            for name, value, epoch, at in unwritten
        ]
        self._tracker.metrics(id, rows)  # which knows by itself what the server has
        self._board.metrics(id, unwritten)
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()
        return new

    def end(self, id: str, outcome: str, reason: str, seconds: float, device: str) -> Entry:
        """A member has ended."""
        entry = self.open.pop(id)
        member, now = entry.member, time.time_ns() // 1_000_000
        objective = entry.metrics.get(self._objective.metric) if outcome != "failed" else None
        tie = entry.metrics.get(self._objective.tie) if outcome != "failed" else None
        as_json = config.to_json(member.configuration)
        row = {
            "trial_id": id,
            "arm": member.arm,
            "phase": entry.phase,
            "slice": entry.slice,
            "search": entry.search,
            "number": entry.number,
            "params": json.dumps(entry.params),
            "config": config.canonical(as_json),
            "config_hash": entry.selected or config.digest(as_json),
            "seed": member.seeds.initial,
            "group_id": entry.group_id,
            "outcome": outcome,
            "reason": reason,
            "objective": objective,
            "tie": tie,
            "epochs": entry.epoch,
            "length": member.configuration.training.epochs,
            "seconds": seconds,
            "device": device,
            "started": datetime.fromtimestamp(entry.started / 1000, UTC),
            "ended": datetime.fromtimestamp(now / 1000, UTC),
        }
        if id not in self._again:
            self._ledger.append(row)
        self._ended.append(row)
        self._tracker.end(id, outcome, now)
        self._board.end(id)
        self._console.finished(member.arm, outcome, objective)
        return entry

    def ledger(self) -> pd.DataFrame:
        """Everything that has ended so far, in the order in which it did."""
        if self._ended:
            ended = pd.DataFrame(self._ended).astype({"objective": float, "tie": float})
            self._earlier = pd.concat([self._earlier, ended], ignore_index=True)
            self._ended = []
        return self._earlier

    def flush(self) -> None:
        """Writes what has gathered: first the history, then the ledger, which says that a history is whole."""
        self._tables.append("history", self._history)
        self._history = []
        self._tables.append("ledger", self._ledger)
        self._ledger = []
        self._flushed = time.monotonic()
