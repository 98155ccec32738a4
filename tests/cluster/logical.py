"""Two machines of four counted GPUs: trials of a half, a whole and two GPUs, and one that outlives its machine.

Prints one JSON line. Every group tells, in a file of its own, which GPUs it was given and where; it goes on when as
many have told as run at once. A trial of two GPUs has two members, one for each, and so two groups that tell.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
from ray.cluster_utils import Cluster

from vaetune.config import Configuration
from vaetune.errors import UserError
from vaetune.models.supervised_vae import SupervisedVAE
from vaetune.storage import Storage
from vaetune.study import (
    Arm,
    DatasetConfig,
    Replication,
    Resources,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
    cluster,
    members,
    tuning,
)
from vaetune.study.members import GroupSpec
from vaetune.study.pool import Pool
from vaetune.study.versions import versions

FOLDER = Path(sys.argv[1])
GPUS = {"half": 0.5, "whole": 1.0, "double": 2.0, "long": 4.0}
TOGETHER = {"half": 4, "whole": 8, "double": 2, "long": 1}
"""Groups that fit at once: halves are held to four by their cores, which a machine has two of for them."""
MEMBERS = {"half": 1, "whole": 1, "double": 2, "long": 1}
EPOCHS = 600
"""Of the long one: far more than ten seconds, after which it is written down for the first time."""
CORES = {"half": 2.0, "whole": 1.0, "double": 1.0, "long": 1.0}


class Telling(SupervisedVAE):
    def terms(self, *arguments: Any, **named: Any) -> Any:
        thread = threading.current_thread().name
        mark = FOLDER / f"{self.config.kindred}.{os.getpid()}.{thread}"
        if not mark.exists():
            told = {"gpus": os.environ["CUDA_VISIBLE_DEVICES"], "node": ray.get_runtime_context().get_node_id()}
            aside = mark.with_name(f"new.{mark.name}")
            aside.write_text(json.dumps(told | {"thread": thread}))
            aside.rename(mark)
            while len(list(FOLDER.glob(f"{self.config.kindred}.[0-9]*"))) < self.config.together:
                time.sleep(0.05)
        return super().terms(*arguments, **named)


@dataclass(frozen=True, kw_only=True)
class TellingConfig(SupervisedVAEConfig):
    kind: ClassVar[str] = "telling"
    kindred: str = ""
    together: int = 1

    def build(self, shape: tuple[int, ...], classes: int) -> Telling:
        return Telling(self, shape, classes)


ARMS = {n: Arm(name=n, summary="", resources=Resources(cpus=CORES[n], gpus=GPUS[n])) for n in GPUS}
STUDY = Study(name="s", hypothesis="h", arms=tuple(ARMS.values()), replication=Replication(n=1))


def group(arm: str, number: int) -> GroupSpec:
    configuration = Configuration(
        model=TellingConfig(
            trunk=(512, 512) if arm == "long" else (64,),
            latents=8,
            kindred=arm,
            together=TOGETHER[arm] * MEMBERS[arm],
        ),
        training=TrainingConfig(epochs=EPOCHS if arm == "long" else 2, batch_size=64),
        dataset=DatasetConfig(n_validation=256),
    )
    study = replace(STUDY, replication=Replication(n=MEMBERS[arm]))
    found = members.replicates(study, 0, ARMS[arm], [configuration])
    named = tuple(replace(member, id=f"{arm}{number}-{i}") for i, member in enumerate(found))
    return GroupSpec(f"{arm}{number}", "replicate", named)


class Book:
    """Hands out an arm's groups and notes what becomes of them."""

    def __init__(self, specs: Sequence[GroupSpec], look: Callable[[], None] = lambda: None) -> None:
        self.specs, self.look = [*specs], look
        self.epochs: list[int] = []
        self.outcomes: dict[str, str] = {}

    @property
    def exhausted(self) -> bool:
        return not self.specs

    def next(self) -> GroupSpec | None:
        return self.specs.pop(0)

    def result(self, spec: GroupSpec, rows: Sequence[Any], device: str) -> bool:
        self.look()
        for row in rows:
            self.epochs += [epoch["epoch"] for epoch in row["epochs"]]
            if row["outcome"]:
                self.outcomes[row["id"]] = row["outcome"]
        return any(member.id not in self.outcomes for member in spec.members)

    def lost(self, spec: GroupSpec, reason: str) -> None:
        self.outcomes |= {member.id: reason for member in spec.members}


def told(arm: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in FOLDER.glob(f"{arm}.[0-9]*")]


def main() -> None:
    started = time.monotonic()
    out: dict[str, Any] = {"steps": {}, "told": {}}

    def step(name: str) -> None:
        out["steps"][name] = round(time.monotonic() - started, 1)

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = {node.node_id: node for node in (machines.add_node(num_cpus=4, num_gpus=4) for _ in range(2))}
    machines.wait_for_nodes()
    step("up")
    out["refused"] = list(refusals(machines.address))
    cluster.admit(machines.address, STUDY, f"file://{FOLDER}")
    rng = np.random.default_rng(0)
    storage = Storage(FOLDER / "execution")
    data = {
        "pool": Pool(rng.integers(0, 255, (2304, 1, 16, 16), dtype=np.uint8), np.arange(2304) % 3),
        "classes": 3,
        "storage": storage,
        "refit": False,
        "stall": 60.0,
        "driver": versions(),
        "most": 8,
    }
    with cluster.connected(machines.address, STUDY) as slots:
        out["slots"] = slots
        for arm in ("half", "whole", "double"):
            book = Book([group(arm, i) for i in range(TOGETHER[arm])])
            tuning.run(book, data, lambda arm: ARMS[arm].resources or Resources(), TOGETHER[arm], lambda: False)
            out["told"][arm] = told(arm)
            out.setdefault("outcomes", {}).update(book.outcomes)
            step(arm)
        over = threading.Event()
        partials: list[int] = []

        def written() -> list[int]:
            """The epochs of the long group's checkpoints; one without a manifest is half a checkpoint."""
            folder = "checkpoints/long0-0/partial"
            return [int(n) for n in storage.list(folder) if storage.exists(f"{folder}/{n}/manifest.json")]

        def power_cut() -> None:
            """The machine of the long group goes once its first checkpoint is written."""
            while not (kept := written()) or not told("long"):
                if over.wait(0.05):
                    return
            partials.append(kept[-1])
            machines.remove_node(nodes[told("long")[0]["node"]], allow_graceful=False)
            step("machine gone")
            while not over.wait(0.2):
                partials.extend(written()[-1:])

        thread = threading.Thread(target=power_cut)
        thread.start()
        book = Book([group("long", 0)])
        tuning.run(book, data, lambda arm: ARMS[arm].resources or Resources(), 1, lambda: False)
        over.set()
        thread.join()
        step("long")
    out["outcomes"] |= book.outcomes
    out |= {"epochs": book.epochs, "partials": partials, "nodes": [each["node"] for each in told("long")]}
    machines.shutdown()
    print(json.dumps(out))


def refusals(address: str) -> Iterator[str]:
    """What a study is told that the cluster cannot run, each with the seconds it took."""
    large = replace(STUDY, arms=(replace(ARMS["whole"], resources=Resources(gpus=5.0)),))
    for study, root in ((STUDY, "runs"), (large, "s3://bucket/runs")):
        began = time.monotonic()
        try:
            cluster.admit(address, study, root)
        except UserError as error:
            yield f"{time.monotonic() - began:.1f} s: {error}"
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
