from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vaetune.errors import UserError
from vaetune.study.capacity import capacity


def node(cpus: float, gpus: float = 0.0, alive: bool = True) -> Mapping[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1.0}}


HEAD = {"Alive": True, "Resources": {"memory": 1.0}}
FILE: Mapping[str, Any] = {
    "head_node_type": "head",
    "max_workers": 3,
    "available_node_types": {
        "head": {"resources": {"CPU": 0}},
        "gpu4": {"resources": {"CPU": 48, "GPU": 4}, "max_workers": 2},
        "gpu8": {"resources": {"CPU": 192, "GPU": 8}, "max_workers": 2},
    },
}


def test_requests_are_counted_machine_by_machine() -> None:
    room = capacity([node(2), node(2), node(8, alive=False)], None)
    assert room.slots({"CPU": 1.0, "GPU": 0.0}) == 4
    assert room.slots({"CPU": 1.5, "GPU": 0.0}) == 2, "what is left over on one machine is no use on another"
    assert room.several
    assert not capacity([node(2)], None).several


def test_fractions_of_gpus() -> None:
    room = capacity([node(8, 4)], None)
    assert room.slots({"CPU": 1.0, "GPU": 0.5}) == 8
    assert room.slots({"CPU": 0.1, "GPU": 0.1}) == 40, "0.1 fits ten times"
    assert room.slots({"CPU": 1.0, "GPU": 3.0}) == 1


def test_an_empty_cluster_counts_what_its_autoscaler_could_start() -> None:
    room = capacity([HEAD], FILE)
    assert room.several, "trials will not run where the driver does"
    assert room.slots({"CPU": 1.0, "GPU": 1.0}) == 2 * 8 + 4, "three machines at most, the larger ones first"
    assert room.slots({"CPU": 1.0, "GPU": 8.0}) == 2


@pytest.mark.parametrize("file", [FILE, None])
def test_more_than_any_machine_has_is_refused(file: Mapping[str, Any] | None) -> None:
    with pytest.raises(UserError, match="a trial asks for 1 CPU, 16 GPU, and no machine has that") as refused:
        capacity([HEAD, node(48, 4)], file).slots({"CPU": 1.0, "GPU": 16.0})
    assert "1 of 48 CPU, 4 GPU there" in str(refused.value)
    assert ("up to 2 of 192 CPU, 8 GPU could be started" in str(refused.value)) == (file is not None)


def test_machines_of_one_s_own_are_those_that_are_there() -> None:
    own = {"head_node_type": "local", "max_workers": 2, "available_node_types": {"local": {"resources": {}}}}
    assert capacity([HEAD, node(2), node(2)], own).slots({"CPU": 1.0, "GPU": 0.0}) == 4
    with pytest.raises(UserError, match="no machine has that"):
        capacity([HEAD], own).slots({"CPU": 1.0, "GPU": 0.0})
