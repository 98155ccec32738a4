"""The benchmark's own arithmetic, and its routes on little data: they must train the same thing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import epochs, kernels, members, table
from benchmarks.study import efficiency
from benchmarks.timing import Route, alternate, rows
from vaetune.datasets import open_dataset
from vaetune.datasets.base import Images


@pytest.fixture(autouse=True)
def _precision() -> object:
    import torch

    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def few() -> Images:
    development = open_dataset("fashion_mini").development()
    return Images(development.images[:512], development.labels[:512])


def test_routes_take_turns_in_processes_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "turns"

    def epoch(name: str) -> float:
        with log.open("a") as file:
            file.write(name)
        return float(os.getpid())

    routes = [Route(name, partial(epoch, name)) for name in "AB"]
    alternate(routes, 2)
    assert log.read_text() == "ABABAB"  # the first of each is to warm up
    assert [len(route.cpu) for route in routes] == [2, 2]
    processes = [{*route.losses} for route in routes]
    assert [len(one) for one in processes] == [1, 1]
    assert not processes[0] & processes[1]
    assert os.getpid() not in processes[0] | processes[1]


def test_a_route_that_dies_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 1: its traceback is above"):
        alternate([Route("broken", lambda: 1 / 0)], 1)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_route_that_does_other_work_is_void() -> None:
    routes = [Route("ours", lambda: 1.0), Route("near", lambda: 1.009), Route("far", lambda: 1.02)]
    alternate(routes, 1)
    assert [bool(row["void"]) for row in rows("case", routes, 0.01)] == [False, False, True]


@pytest.mark.parametrize("case", [epochs.mlp_vae, epochs.vib, epochs.conv_vae])
def test_all_routes_train_to_the_same_loss(case: object, few: Images) -> None:
    made = case(few, 1)  # type: ignore[operator]
    timed = [row for row in made if "loss" in row]
    assert len(timed) >= 3
    assert [row["void"] for row in timed] == [""] * len(timed)
    assert all("not installed" in row["void"] for row in made if row not in timed)


def test_members_train_to_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SIZES", (1, 3))
    monkeypatch.setattr(members, "NETWORKS", {"tiny": ("digits", 128, (16,), 4, 64)})
    made = members.fused(1)
    assert [row["void"] for row in made] == [""] * 4
    assert [row["loss"] for row in made[::2]] == pytest.approx([row["loss"] for row in made[1::2]], rel=1e-6)


def test_no_epoch_is_below_its_floor(few: Images) -> None:
    shares = [row["share_of_least"] for row in kernels.roofline(few, 9)]
    assert 0 < shares[1] < shares[0] < 1.2


def test_results_are_stored_as_they_are_printed(tmp_path: Path) -> None:
    made = [{"case": "a", "ratio": 2.0, "void": ""}, {"case": "b", "void": "not installed: x"}]
    table.store(tmp_path, "now", {"cpu": "one", "ceilings": {"copy": 1.0}}, {"part": made})
    text = (tmp_path / "now.md").read_text()
    assert "| a | 2 |" in text
    assert "| b | void: not installed: x |" in text
    assert json.loads((tmp_path / "now.json").read_text())["results"]["part"] == made


def test_efficiency_is_training_over_all_cores(tmp_path: Path) -> None:
    from vaetune.storage import Storage
    from vaetune.tables import SCHEMAS, Tables

    start = datetime(2026, 1, 1, tzinfo=UTC)
    blank = {field.name: "" for field in SCHEMAS["ledger"]}
    words = {"phase": "search", "slice": "audit", "outcome": "finished"}
    numbers = {"search": 0, "number": 0, "seed": 0, "epochs": 1, "length": 1, "objective": None, "tie": None}
    row = blank | words | numbers | {"seconds": 12.0, "started": start, "ended": start + timedelta(seconds=10)}
    Tables(Storage(tmp_path)).append("ledger", [row])
    record = {"hardware": {"cores": 2}, "wall_seconds": {"search": 15.0, "evaluate": 5.0}}
    (tmp_path / "environment.json").write_text(json.dumps(record))
    assert np.allclose([r["share"] for r in efficiency(tmp_path)], [12 / 20, 12 / 30, 12 / 40])
