"""What runs inside a Ray worker: a group of members, trained until something has to be reported.

Checkpoints go straight to the execution's own storage, under the members' own ids; Tune keeps none. A worker that
takes a group over, after a kill or in a resumed study, finds them there and emits again what they record.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from ray import tune

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint, CheckpointError
from vaetune.config import to_json
from vaetune.errors import UserError
from vaetune.models.decoding import decodes
from vaetune.storage import Storage
from vaetune.study import devices, pretrained, snapshots, versions
from vaetune.study.chooser import Chooser
from vaetune.study.members import GroupSpec, identity, replicate_id
from vaetune.study.patience import GaveUp, Patience
from vaetune.study.pool import Pool
from vaetune.study.watchdog import Watchdog
from vaetune.training import routes
from vaetune.training.group import Group, Progress, Split
from vaetune.training.memory import exhausted
from vaetune.training.seeds import Member

_log = logging.getLogger(__name__)

REPORT_EVERY = 1.0
"""Seconds of training after which a result is due; a rung and the end are reported at once."""

CHECKPOINT_EVERY = 10.0
"""Seconds of training after which what still trains is written down; a lost worker costs no more than that."""


WAIT = 100.0
"""Seconds for which a worker waits for a full or absent storage, each of the three times that its group is tried."""


class GroupTrainable(tune.Trainable):
    """One Ray trial; the actor is reused for the next."""

    def setup(  # type: ignore[override]  # the other arguments come from tune.with_parameters
        self,
        config: dict[str, Any],
        pool: Pool,
        classes: int,
        storage: Storage,
        refit: bool,
        stall: float,
        driver: Mapping[str, str] | None,
        most: int,
    ) -> None:
        self.routes = routes.configure()
        self.watchdog = Watchdog(stall)
        self.unfit = ""
        try:
            self.devices = devices.mine()
            versions.alike(driver)
        except UserError as error:
            self.devices, self.unfit = ["cpu"], str(error)
        self.device, self.pool = self.devices[0], pool
        labels = torch.from_numpy(pool.labels.copy())  # a copy: what workers share is read-only
        self.data = {device: (pool.pixels(device), labels.to(device)) for device in {*self.devices}}
        self.threads = ThreadPoolExecutor(len(self.devices), "vaetune-device")
        self.classes, self.refit = classes, refit
        self.chooser = Chooser(*self.data[self.device], classes, self.device, most)
        self.storage = storage.patient(Patience(_log.warning, lambda: False, WAIT, sleep=self._wait))
        self._begin(config["spec"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config["spec"])
        return True

    def _begin(self, spec: GroupSpec) -> None:
        self.spec = spec
        self.seconds = {member.id: 0.0 for member in spec.members}
        self.history: dict[str, list[dict[str, Any]]] = {member.id: [] for member in spec.members}
        self.emitted = {member.id: 0 for member in spec.members}
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.told: set[str] = set()
        self.saved = time.monotonic()
        self.groups: list[Group] = []
        self.places: dict[Group, int] = {}
        self.by_id = {member.id: member for member in spec.members}
        self.watchdog.beat()
        self._join(spec.members)
        self.watchdog.rest()

    def _join(self, members: Sequence[Member]) -> None:
        """Makes groups of members and puts them in the queue; who cannot be made fails, as in training."""
        try:
            self.groups += self._made(members)
        except GaveUp:
            raise
        except Exception as error:  # noqa: BLE001 - as in `_epoch`
            self._broken(error, [member for member in members if member.id not in self.outcomes])

    def _made(self, members: Sequence[Member]) -> list[Group]:
        """Groups of members, from their checkpoints where there are any.

        Members that stand at different epochs train as groups of their own, one after the other; where the trial has
        several devices, members are dealt out to them, and one group of each trains at the same time.
        """
        groups = []
        states: dict[int, list[tuple[Member, Checkpoint | None]]] = {}
        for member in members:
            found = self._found(member)
            if found is not None:
                self.seconds[member.id] = found.config["seconds"]
                self.history[member.id] = found.config["history"]
                if found.config["outcome"]:
                    self.outcomes[member.id] = (found.config["outcome"], found.config["reason"])
                    continue
            states.setdefault(found.config["epoch"] if found else 0, []).append((member, found))
        for epoch in sorted(states, reverse=True):
            first = states[epoch][0][0]
            choice = self.chooser.choice(self.spec, first, partial(self._split, first))
            for place, device in enumerate(self.devices):
                mine = states[epoch][place :: len(self.devices)]
                for start in range(0, len(mine), choice.members):
                    together = mine[start : start + choice.members]
                    group = self._group([member for member, _ in together], device, choice.route)
                    if epoch:
                        group.load([(found.config["numbers"], found.training) for _, found in together if found])
                    groups.append(group)
                    self.places[group] = place
        return groups

    def _group(self, members: Sequence[Member], device: str, route: str) -> Group:
        splits = [self._split(member) for member in members]
        given = {uri: pretrained.weights(self.storage, uri) for uri in _sources(members)}
        pixels, labels = self.data[device]
        return Group(members, splits, pixels, labels, self.classes, device, given, route)

    def _found(self, member: Member) -> Checkpoint | None:
        """The member's checkpoint, if there is one of this very configuration and these seeds."""
        found: Checkpoint | None = None
        if checkpoints.finished(self.storage, member.id):
            try:
                found = checkpoints.load(self.storage, member.id)
            except CheckpointError as error:
                _log.warning("%s; training it again", error)
        found = found or checkpoints.resume_point(self.storage, member.id)
        return found if found and found.config["identity"] == identity(member) else None

    def _split(self, member: Member) -> Split:
        train, validation = self.pool.folded(member, self.refit and self.spec.phase == "replicate")
        targets = self.pool.targets(member, train, self.classes)
        return Split(torch.from_numpy(train), torch.from_numpy(targets), torch.from_numpy(validation))

    def step(self) -> dict[str, Any]:
        """Trains until a rung, the end, or `REPORT_EVERY` seconds; returns the epochs since the last result.

        A machine that is unfit says so instead of training, and the driver ends the study.
        """
        if self.unfit:
            return {"rows": [], "device": "", "routes": [], "unfit": self.unfit}
        started = time.monotonic()
        while heads := self._heads():
            self.watchdog.beat()
            trained = self.threads.map(_epoch, heads) if len(heads) > 1 else map(_epoch, heads)
            for group, (progress, seconds) in zip(heads, [*trained], strict=True):
                self._take(group, progress, seconds)
                if not group.members:
                    self.groups.remove(group)
                    del self.places[group]
            reached = any(group.epoch in self.spec.rungs for group in heads)
            if reached or time.monotonic() - started >= REPORT_EVERY:
                break
        if self.groups and time.monotonic() - self.saved >= CHECKPOINT_EVERY:
            self._save_partials()
        self.watchdog.rest()
        chosen = self.routes | self.chooser.measured
        return {"rows": self._rows(), "device": self.device, "routes": [*chosen.items()], "unfit": ""}

    def _heads(self) -> list[Group]:
        """The first group of each device."""
        heads: dict[int, Group] = {}
        for group in self.groups:
            heads.setdefault(self.places[group], group)
        return [*heads.values()]

    def _take(self, group: Group, progress: list[Progress] | Exception, seconds: float) -> None:
        """What a group's epoch has come to."""
        if isinstance(progress, Exception):
            # Whatever a model raises ends its own members only, with the traceback in the ledger.
            members, group.members = list(group.members), []
            self._broken(progress, members)
            return
        for row in progress:
            self.seconds[row.id] += seconds / len(progress)
            entry = {"epoch": row.epoch, "time": time.time_ns() // 1_000_000, "metrics": row.metrics}
            self.history[row.id].append(entry)
            if row.outcome:
                self._end(row, group)
        if self.spec.phase == "replicate" and decodes(group.model):
            self._snapshot(group)

    def _broken(self, error: Exception, members: Sequence[Member]) -> None:
        """What becomes of members whose group raised: they fail, but for those that fit the memory by themselves."""
        if not exhausted(error):
            self._fail(members, "".join(traceback.format_exception(error)))
        elif len(members) > 1:
            self._halve(members)
        else:
            self._fail(members, f"out of memory: {error}; a smaller batch or model, or more memory, may help")

    def _halve(self, members: Sequence[Member]) -> None:
        """What is too large for the memory together goes on as two groups, from its last checkpoints."""
        _log.warning("out of memory with %d members in one group: going on with half as many", len(members))
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        for member in members:
            self.seconds[member.id], self.history[member.id], self.emitted[member.id] = 0.0, [], 0
        middle = len(members) // 2
        self._join(members[:middle])
        self._join(members[middle:])

    def _snapshot(self, group: Group) -> None:
        """Keeps states of the arm's first replicate, which is the one of whom pictures are shown."""
        for r, member in enumerate(group.members):
            if member.id == replicate_id(member.arm, 0) and snapshots.due(group.epoch, group.training.epochs):
                snapshots.write(self.storage, member.id, group.epoch, group.weights(r))

    def _end(self, row: Progress, group: Group) -> None:
        self.outcomes[row.id] = (row.outcome, row.reason)
        if row.outcome == "finished" and self.spec.phase != "select":
            weights = group.ended.pop(row.id)
            numbers, training = group.states.pop(row.id, ({"epoch": row.epoch}, {}))
            kept = training if self.spec.phase == "replicate" else {}  # so that --extend can train it on
            checkpoints.save(self.storage, row.id, Checkpoint(self._config(row.id, numbers), weights, kept))
        else:
            self.storage.delete(f"checkpoints/{row.id}")  # what it left while it trained

    def _save_partials(self) -> None:
        for group in self._heads():
            for r, member in enumerate(group.members):
                numbers, tensors = group.state(r)
                checkpoint = Checkpoint(self._config(member.id, numbers), group.weights(r), tensors)
                checkpoints.save_partial(self.storage, member.id, checkpoint)
        self.saved = time.monotonic()

    def _config(self, id: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
        member = self.by_id[id]
        outcome, reason = self.outcomes.get(id, ("", ""))
        return {
            "id": id,
            "arm": member.arm,
            "phase": self.spec.phase,
            "configuration": to_json(member.configuration),
            "identity": identity(member),
            "seeds": asdict(member.seeds),
            "shape": list(self.data[self.device][0].shape[1:]),
            "classes": self.classes,
            "epoch": numbers["epoch"],
            "numbers": dict(numbers),
            "outcome": outcome,
            "reason": reason,
            "seconds": self.seconds[id],
            "history": self.history[id],
        }

    def _wait(self, seconds: float) -> None:
        """Waiting for the storage is no hang."""
        self.watchdog.beat()
        time.sleep(seconds)

    def _fail(self, members: Sequence[Member], reason: str) -> None:
        for member in members:
            self.outcomes[member.id] = ("failed", reason)

    def _rows(self) -> list[dict[str, Any]]:
        """What every member has to tell since the last result: its new epochs, and its outcome once."""
        rows = []
        for id, history in self.history.items():
            new = history[self.emitted[id] :]
            outcome, reason = self.outcomes.get(id, ("", ""))
            if id in self.told or not (new or outcome):
                continue
            if outcome:
                self.told.add(id)
            rows.append({"id": id, "epochs": new, "outcome": outcome, "reason": reason, "seconds": self.seconds[id]})
            self.emitted[id] = len(history)
        return rows

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: Tune's own checkpoints are off, see the module's docstring."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, likewise."""


def _epoch(group: Group) -> tuple[list[Progress] | Exception, float]:
    """Trains a group for an epoch: what came of it, and the seconds that it took."""
    started = time.perf_counter()
    try:
        return group.run_epoch(), time.perf_counter() - started
    except Exception as error:  # noqa: BLE001 - judged where the outcomes are kept
        return error, time.perf_counter() - started


def _sources(members: Sequence[Member]) -> set[str]:
    """The checkpoints that these members begin from."""
    return {member.configuration.training.pretrained for member in members} - {""}
