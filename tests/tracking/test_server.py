"""The tracker against a real `mlflow server`: structure, frozen, killed and started again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaetune.tracking import Tracker, about, links
from vaetune.tracking import pump as pump_module

pytestmark = pytest.mark.slow

Make = Callable[..., Tracker]
Client = Callable[[str], Any]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(pump_module, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(pump_module, "LONGEST_WAIT_S", 0.3)
    monkeypatch.setattr(pump_module, "GATHER_S", 0.05)


class Listening(list[str]):
    """Console lines, and events when a word is said for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.recovered = threading.Event(), threading.Event()

    def say(self, line: str) -> None:
        self.append(line)
        (self.waiting if "does not answer" in line else self.recovered).set()


def tell(tracker: Tracker, own_id: str, steps: range) -> None:
    for step in steps:
        tracker.metrics(own_id, [("loss", 1 / (step + 1), step, 1000 + step), ("acc", 0.5, step, 1000 + step)])


def history(client: Any, experiment: str, own_id: str) -> list[tuple[int, int]]:
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    (run,) = [run for run in found if run.data.tags["vaetune.id"] == own_id]
    both = [[(m.step, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)] for key in ("loss", "acc")]
    assert both[0] == both[1]
    return both[0]


def expected(steps: range) -> list[tuple[int, int]]:
    return [(step, 1000 + step) for step in steps]


def test_an_execution_on_a_server(server: Any, make: Make, client: Client, tmp_path: Path) -> None:
    study = {
        "name": "whole",
        "hypothesis": "It works.",
        "dataset_info": {"name": "digits", "n_train": 1, "n_validation": 1, "test": 1},
        "objective": {"metric": "val/error", "direction": "minimize", "tie": "val/nll"},
        "budget": {"trials": 1},
        "replication": {"n": 1},
        "arms": [],
        "comparisons": [],
    }
    tracker = make(server.uri, experiment="whole", about=about(study))
    tracker.check()
    tracker.begin("a", "a", {"vaetune.kind": "trial", "vaetune.arm": "x"}, {"lr%": "l" * 9000}, 1000)
    tell(tracker, "a", range(1200))
    tracker.end("a", "stopped", 3000)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>")
    tracker.artifact(tmp_path / "report", "report")
    experiment_id = tracker.experiment_id
    tracker.close("finished")

    mlflow = client(server.uri)
    experiment = mlflow.get_experiment(experiment_id)
    assert sum(key.startswith("mlflow.sharedViewState.") for key in experiment.tags) == 3
    assert "It works." in experiment.tags["mlflow.note.content"]
    assert history(mlflow, "whole", "a") == expected(range(1200))
    found = {run.data.tags["vaetune.id"]: run for run in mlflow.search_runs([experiment_id])}
    assert found["a"].info.status == found["R1"].info.status == "FINISHED"
    assert found["a"].data.tags["vaetune.outcome"] == "stopped"
    assert [file.path for file in mlflow.list_artifacts(found["R1"].info.run_id, "report")] == ["report/report.html"]
    urls = links(server.uri, experiment_id)
    assert all(url.startswith(f"{server.uri}/#/experiments/{experiment_id}/") for url in urls.values())


def test_a_frozen_server_costs_nothing_but_time(server: Any, make: Make, client: Client) -> None:
    console = Listening()
    tracker = make(server.uri, experiment="frozen", say=console.say)
    tracker.check()
    tracker.begin("a", "a", {"vaetune.kind": "trial"}, {}, 1000)
    tell(tracker, "a", range(100))
    assert tracker.flush()
    server.freeze()
    try:
        tell(tracker, "a", range(100, 200))
        tracker.begin("b", "b", {"vaetune.kind": "trial"}, {"x": 1}, 1000)
        tell(tracker, "b", range(100))
        assert console.waiting.wait(20)
        assert not tracker.flush(timeout=0.5)
    finally:
        server.thaw()
    assert console.recovered.wait(20)
    tracker.close("finished")
    assert len(console) == 2
    assert history(client(server.uri), "frozen", "a") == expected(range(200))
    assert history(client(server.uri), "frozen", "b") == expected(range(100))


def test_a_killed_server_and_a_killed_driver(server: Any, make: Make, client: Client, tmp_path: Path) -> None:
    """The first driver gives up while the server is down; the second one writes what is left to the next server."""
    console = Listening()
    first = make(server.uri, experiment="killed", say=console.say)
    first.check()
    first.begin("a", "a", {"vaetune.kind": "trial"}, {}, 1000)
    tell(first, "a", range(50))
    assert first.flush()
    server.kill()
    tell(first, "a", range(50, 100))
    first.begin("b", "b", {"vaetune.kind": "trial"}, {}, 1000)
    tell(first, "b", range(30))
    assert console.waiting.wait(20)
    first.close("stopped", timeout=0.5)
    assert "the rest waits in" in console[-1]
    assert len(console) == 2

    console = Listening()
    second = make(server.uri, experiment="killed", say=console.say)
    tell(second, "a", range(95, 150))
    server.start()
    second.close("finished", timeout=30)
    assert console == []
    assert history(client(server.uri), "killed", "a") == expected(range(150))
    assert history(client(server.uri), "killed", "b") == expected(range(30))
    assert list((tmp_path / "spool").iterdir()) == []
