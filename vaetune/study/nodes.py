"""System metrics of every node of the cluster, once a node, under the execution's own run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vaetune.tracking import Tracker
from vaetune.tracking.system import Meter

EVERY_S = 10.0
PATIENCE_S = 5.0

log = logging.getLogger(__name__)


@contextmanager
def watched(tracker: Tracker, run: str, since_ms: int) -> Iterator[None]:
    """Within, a thread tells the tracker how busy each node is; steps are seconds since `since_ms`."""
    if not tracker.on:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(tracker, run, since_ms, over), name="node-watcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_S)


def _watch(tracker: Tracker, run: str, since_ms: int, over: threading.Event) -> None:
    here = Meter()
    away: dict[str, Any] = {}
    while not over.wait(EVERY_S):
        now = time.time_ns() // 1_000_000
        try:
            values = {"": here.read()} | _elsewhere(away)
        except Exception as error:  # noqa: BLE001 - a cluster that is just going down is no news of this thread's
            log.debug("system metrics: %s", error)
            continue
        step = (now - since_ms) // 1000
        rows = [
            (f"system/{node}{'/' * bool(node)}{name}", value, step, now)
            for node, read in values.items()
            for name, value in read.items()
        ]
        tracker.metrics(run, rows)


def _elsewhere(meters: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The other nodes' values by address; a node that does not answer in time is left out."""
    mine = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    for gone in set(meters) - set(nodes):
        del meters[gone]
    for id in set(nodes) - set(meters) - {mine}:
        meters[id] = _Remote.options(  # type: ignore[attr-defined]
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(id, soft=False)
        ).remote()
    pending = {meter.read.remote(): id for id, meter in meters.items()}
    done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=PATIENCE_S) if pending else ([], [])
    # Nodes that share an address (a test's) are told apart by their ids.
    names = list(nodes.values())
    called = {id: name if names.count(name) == 1 else f"{name}-{id[:6]}" for id, name in nodes.items()}
    return {called[pending[each]]: ray.get(each) for each in done}


@ray.remote
class _Remote:
    """A meter on another node."""

    def __init__(self) -> None:
        self._meter = Meter()

    def read(self) -> dict[str, float]:
        return self._meter.read()
