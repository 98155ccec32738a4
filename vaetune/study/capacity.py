"""What a cluster can run at once, on the machines that are there or on those that its autoscaler could still start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vaetune.errors import UserError

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` leaves the cluster's file on the head."""

Amounts = Mapping[str, float]


@dataclass(frozen=True)
class Kind:
    """So many machines that have the same resources; `started` ones, or those that could be."""

    name: str
    resources: Amounts
    count: int

    def fits(self, request: Amounts) -> int:
        """How many requests fit on one of these machines."""
        amounts = [(self.resources.get(name, 0.0), amount) for name, amount in request.items() if amount]
        return min((math.floor(have / amount + 1e-9) for have, amount in amounts), default=0)


@dataclass(frozen=True)
class Capacity:
    """The machines `there`, and what may be started beside the head: at most `limit` of the `possible` kinds.

    `awaited` where machines are still to come of which nothing is known.
    """

    there: Sequence[Kind]
    possible: Sequence[Kind] = ()
    limit: int = 0
    awaited: bool = False

    @property
    def several(self) -> bool:
        """Whether trials run, or may come to run, on more than one machine."""
        return sum(kind.count for kind in self.there) > 1 or self.limit > 0

    def slots(self, request: Amounts) -> int:
        """How many requests run at once; raises `UserError` where no machine will ever hold one."""
        now = sum(kind.fits(request) * kind.count for kind in self.there)
        then, left = 0, self.limit
        for kind in sorted(self.possible, key=lambda kind: -kind.fits(request)):
            count = min(kind.count, left)
            then, left = then + kind.fits(request) * count, left - count
        if not max(now, then):
            raise UserError(
                f"a trial asks for {_listed(request)}, and no machine has that: {'; '.join(self._machines())}. "
                "Lower --set resources.cpus, resources.gpus"
            )
        return max(now, then)

    def _machines(self) -> list[str]:
        there = [f"{kind.count} of {_listed(kind.resources)} there" for kind in self.there]
        return there + [f"up to {k.count} of {_listed(k.resources)} could be started" for k in self.possible]


def capacity(nodes: Sequence[Mapping[str, Any]], cluster_file: Mapping[str, Any] | None) -> Capacity:
    """Of Ray's `nodes`, and of the cluster's file where an autoscaler works by it."""
    there: dict[tuple[float, float], int] = {}
    for node in nodes:
        if node["Alive"]:
            key = (float(node["Resources"].get("CPU", 0)), float(node["Resources"].get("GPU", 0)))
            there[key] = there.get(key, 0) + 1
    kinds = [Kind("", {"CPU": cpus, "GPU": gpus}, count) for (cpus, gpus), count in sorted(there.items())]
    if not cluster_file:
        return Capacity(kinds)
    types = cluster_file.get("available_node_types", {})
    # Machines of one's own are in the file without their resources; they are there, or are switched off.
    possible = [
        Kind(name, _amounts(each["resources"]), int(each.get("max_workers", cluster_file.get("max_workers", 0))))
        for name, each in types.items()
        if name != cluster_file.get("head_node_type") and each.get("resources")
    ]
    limit = int(cluster_file.get("max_workers", 0))
    return Capacity(kinds, possible, limit, not possible and sum(there.values()) <= limit)


def cluster_file() -> Mapping[str, Any] | None:
    """The file by which the autoscaler of this machine, the head, works; None where there is no such thing."""
    try:
        found = yaml.safe_load(BOOTSTRAP.expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{BOOTSTRAP}: {error}; run `ray up` again") from error
    return found if isinstance(found, dict) else None


def _amounts(resources: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(resources.get(name, 0)) for name in ("CPU", "GPU")}


def _listed(amounts: Amounts) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount or name == "CPU")
