"""The tracker on a real sqlite database."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from vaetune.errors import UserError
from vaetune.tracking import Tracker, address
from vaetune.tracking import pump as pump_module
from vaetune.tracking.server import Server, load, translated
from vaetune.tracking.spool import Spool

Make = Callable[..., Tracker]
Client = Callable[[str], Any]

PARENT = {"vaetune.phase": "all", "mlflow.source.git.commit": "abc"}


def runs(client: Any, experiment: str = "study") -> dict[str, Any]:
    """The experiment's runs by own id; fails on twins."""
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    by_id = {run.data.tags["vaetune.id"]: run for run in found}
    assert len(by_id) == len(found)
    return by_id


def tell(tracker: Tracker, own_id: str, steps: range, kind: str = "trial") -> None:
    tracker.begin(own_id, own_id, {"vaetune.kind": kind, "vaetune.arm": "svae"}, {"beta": 0.1}, 1000)
    for step in steps:
        tracker.metrics(own_id, [("loss", 1 / (step + 1), step, 1000 + step), ("acc", 0.5, step, 1000 + step)])


def test_nothing_without_an_address(tmp_path: Path) -> None:
    for uri in (None, ""):
        tracker = Tracker(uri, spool=tmp_path / "spool", experiment="s", run="R", say=pytest.fail)
        tracker.start()
        tracker.check()
        tell(tracker, "a", range(3))
        tracker.end("a", "finished", 1)
        tracker.artifact(tmp_path)
        assert tracker.flush()
        assert tracker.experiment_id == ""
        tracker.close("finished")
    assert not (tmp_path / "spool").exists()


def test_an_execution_is_a_parent_with_children(
    uri: str, make: Make, client: Client, said: list[str], tmp_path: Path
) -> None:
    told: list[tuple[str, str, str]] = []
    tracker = make(uri, tags=PARENT, about={"mlflow.note.content": "# Why"}, on_run=lambda *run: told.append(run))
    tracker.check()
    tell(tracker, "svae-0001", range(20))
    tracker.end("svae-0001", "stopped", 2000, {"vaetune.reason": "rung 5"})
    tell(tracker, "svae-rep00", range(3), kind="replicate")
    tracker.end("svae-rep00", "failed", 3000)
    (tmp_path / "report.html").write_text("<p>")
    tracker.artifact(tmp_path / "report.html", "report")
    assert tracker.flush()
    experiment = client(uri).get_experiment(tracker.experiment_id)
    tracker.close("finished")

    assert experiment.name == "study"
    assert experiment.tags["mlflow.note.content"] == "# Why"
    found = runs(client(uri))
    parent, trial, replicate = found["R1"], found["svae-0001"], found["svae-rep00"]
    assert [run.info.status for run in (parent, trial, replicate)] == ["FINISHED", "FINISHED", "FAILED"]
    assert parent.data.tags["vaetune.kind"] == "execution"
    assert parent.data.tags["vaetune.phase"] == "all"
    assert {own_id: run.info.run_id for own_id, run in found.items()} == {own_id: run_id for own_id, run_id, _ in told}
    assert {experiment_id for _, _, experiment_id in told} == {experiment.experiment_id}
    for run in (trial, replicate):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["mlflow.source.git.commit"] == "abc"
        assert run.data.tags["vaetune.run"] == "R1"
        assert run.data.params == {"beta": "0.1"}
    assert trial.data.tags["vaetune.outcome"] == "stopped"
    assert trial.data.tags["vaetune.reason"] == "rung 5"
    assert (trial.info.start_time, trial.info.end_time, trial.info.run_name) == (1000, 2000, "svae-0001")
    history = client(uri).get_metric_history(trial.info.run_id, "loss")
    assert [(m.step, m.value, m.timestamp) for m in history] == [(s, 1 / (s + 1), 1000 + s) for s in range(20)]
    assert (tmp_path / "mlartifacts" / "study" / parent.info.run_id / "artifacts/report/report.html").exists()
    assert list((tmp_path / "spool").iterdir()) == []
    assert said == []


def test_the_same_values_twice_are_stored_once(uri: str, make: Make, client: Client, tmp_path: Path) -> None:
    """What replaying relies on: MLflow's own primary key, without our guard on steps."""
    tracker = make(uri)
    tracker.check()
    assert tracker._pump
    server = tracker._pump.server
    run_id = server.create("a", {"vaetune.id": "a"}, 1)
    rows = [("loss", 0.1 * step, step, step) for step in range(50)]
    for batch in (rows[:30], rows, rows):
        server.metrics(run_id, batch)
        server.params(run_id, {"x": 1})
    assert len(client(uri).get_metric_history(run_id, "loss")) == 50
    assert client(uri).get_run(run_id).data.metrics == {"loss": pytest.approx(4.9)}


def test_going_on_makes_no_twins_and_writes_what_was_left(uri: str, make: Make, client: Client, tmp_path: Path) -> None:
    first = make(uri)
    first.check()
    tell(first, "a", range(5))
    first.close("stopped")
    before = runs(client(uri))
    assert [before[own_id].info.status for own_id in ("R1", "a")] == ["KILLED", "KILLED"]

    told: list[str] = []
    known = {own_id: run.info.run_id for own_id, run in before.items()}
    second = make(uri, known=known, on_run=lambda own_id, *_: told.append(own_id))
    tell(second, "a", range(3, 8))
    tell(second, "b", range(2))
    assert second.flush()
    assert runs(client(uri))["a"].info.status == "RUNNING"
    second.end("a", "finished", 9000)
    second.close("finished")
    after = runs(client(uri))
    assert told == ["b"]
    assert {own_id: run.info.run_id for own_id, run in after.items() if own_id != "b"} == known
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    history = client(uri).get_metric_history(known["a"], "loss")
    assert [m.step for m in history] == list(range(8))


def killed_late(uri: str, folder: Path) -> None:
    """Writes 300 values and dies after they are on the server and before the cursor says so."""
    commit, commits = Spool.commit, []

    def late(self: Spool, offset: int) -> None:
        commits.append(offset)
        if len(commits) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, offset)

    Spool.commit = late  # type: ignore[method-assign]
    tracker = Tracker(uri, spool=folder, experiment="study", run="R1", say=print)
    tracker.start()
    tracker.begin("a", "a", {"vaetune.kind": "trial"}, {"beta": 0.1}, 1000)
    tracker.flush()
    for step in range(300):
        tracker.metrics("a", [("loss", 1 / (step + 1), step, 1000 + step)])
    tracker.flush()


def test_a_killed_driver_loses_and_doubles_nothing(uri: str, make: Make, client: Client, tmp_path: Path) -> None:
    load()
    driver = multiprocessing.get_context("fork").Process(target=killed_late, args=(uri, tmp_path / "spool"))
    driver.start()
    driver.join(60)
    assert driver.exitcode == -signal.SIGKILL
    tracker = make(uri)
    tracker.end("a", "finished", 5000)
    tracker.close("finished")
    found = runs(client(uri))
    history = client(uri).get_metric_history(found["a"].info.run_id, "loss")
    assert [(m.step, m.timestamp) for m in history] == [(step, 1000 + step) for step in range(300)]
    assert found["a"].info.status == "FINISHED"


def whole_study(uri: str, run: str, folder: Path, together: Any) -> None:
    tracker = Tracker(uri, spool=folder / run, experiment="study", run=run, say=pytest.fail)
    together.wait(60)
    tracker.start()
    tracker.check()
    tracker.begin(f"{run}-a", "a", {"vaetune.kind": "trial"}, {}, 1000)
    for step in range(100):
        tracker.metrics(f"{run}-a", [("loss", 1.0, step, step)])
    tracker.close("finished")


def test_two_studies_at_once_on_a_fresh_database(tmp_path: Path, client: Client) -> None:
    load()
    uri = f"sqlite:///{tmp_path}/new folder/mlflow.db"
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(2)
    both = [fork.Process(target=whole_study, args=(uri, run, tmp_path, together)) for run in ("R1", "R2")]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    found = runs(client(uri))
    assert set(found) == {"R1", "R2", "R1-a", "R2-a"}
    for run in ("R1", "R2"):
        assert found[f"{run}-a"].data.tags["mlflow.parentRunId"] == found[run].info.run_id
        assert len(client(uri).get_metric_history(found[f"{run}-a"].info.run_id, "loss")) == 100


def test_a_run_that_is_replaced_does_not_stay_running(uri: str, make: Make, client: Client) -> None:
    tracker = make(uri)
    tracker.check()
    tracker.begin("a", "a", {"vaetune.kind": "trial"}, {"lr": 1}, 1)
    tracker.begin("a", "a", {"vaetune.kind": "trial"}, {"lr": 2}, 2)
    tracker.close("finished")
    experiment = client(uri).get_experiment_by_name("study").experiment_id
    (gone,) = client(uri).search_runs([experiment], run_view_type=load().entities.ViewType.DELETED_ONLY)
    assert (gone.info.status, gone.data.params) == ("KILLED", {"lr": "1"})
    assert deleted_again(uri, gone.info.run_id) == "deleted"


def deleted_again(uri: str, run_id: str) -> str:
    """As after an answer that went unheard."""
    server = Server(uri)
    server.open("study", lambda: "")
    server.delete(run_id)
    return str(server.client.get_run(run_id).info.lifecycle_stage)


def test_odd_names_and_long_values_arrive(uri: str, make: Make, client: Client) -> None:
    name = 'it\'s a "study" / β %'
    tracker = make(uri, run="R'`\" 1", experiment=name, tags={"a?": "x" * 9000})
    params = {"lr%": 1, "long": "x" * 9000, **{f"p{i}": i for i in range(130)}}
    tracker.begin("t'\"", "trial 'one'", {"tag&": "1", **{f"t{i}": str(i) for i in range(130)}}, params, 1)
    tracker.metrics("t'\"", [("a//b", 1.0, 0, 1), ("é?", float("nan"), 0, 1)])
    tracker.close("finished")
    again = make(uri, run="R'`\" 1", experiment=name)
    again.begin("t'\"", "trial 'one'", {}, params, 1)
    again.close("finished")
    found = runs(client(uri), name)
    assert set(found) == {"R'`\" 1", "t'\""}
    trial = found["t'\""]
    assert len(trial.data.params) == 132
    assert len(trial.data.params["long"]) == 6000
    assert list(trial.data.metrics.values()) == [1.0]
    assert "from step 0" in trial.data.tags["vaetune.nonfinite"]


def test_a_deleted_experiment_is_one_clear_line(uri: str, make: Make, client: Client, said: list[str]) -> None:
    experiment = client(uri).create_experiment("study")
    client(uri).delete_experiment(experiment)
    tracker = make(uri)
    with pytest.raises(UserError, match=f"restore --experiment-id {experiment}") as error:
        tracker.check()
    assert "\n" not in str(error.value)
    tracker.close("failed")
    assert said == []


def test_a_failure_to_begin_that_nobody_checked_is_said_at_the_end(
    uri: str, make: Make, client: Client, said: list[str]
) -> None:
    client(uri).delete_experiment(client(uri).create_experiment("study"))
    tracker = make(uri)
    tell(tracker, "a", range(2))
    tracker.close("finished")
    assert len(said) == 1
    assert "was deleted" in said[0]


def test_an_experiment_deleted_while_the_study_runs_is_one_line(
    uri: str, make: Make, client: Client, said: list[str]
) -> None:
    tracker = make(uri)
    tracker.check()
    tell(tracker, "a", range(2))
    assert tracker.flush()
    client(uri).delete_experiment(tracker.experiment_id)
    for own_id in ("b", "c"):
        tell(tracker, own_id, range(2))
    tracker.close("finished")
    assert len(said) == 2
    assert "refuses what belongs to b" in said[0]
    assert "refused" in said[1]


@pytest.mark.parametrize(
    "uri", ["mlruns", "/tmp/x", "ftp://host/x", "file:///tmp/x", "sqlite://", "http://", "localhost:5000", "sqlite:///"]
)
def test_an_address_of_no_known_kind_is_one_clear_line(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLflow cannot keep runs at"):
        Tracker(uri, spool=tmp_path / "spool", experiment="s", run="R", say=print)
    assert not (tmp_path / "spool").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_clear_line(tmp_path: Path, make: Make) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be used: Permission denied"):
        make(f"sqlite:///{tmp_path}/shut/mlflow.db").check()


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path: Path, make: Make) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/mlflow\.db cannot be used"):
        make(f"sqlite:///{tmp_path}/file/mlflow.db").check()


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path, make: Make) -> None:
    (tmp_path / "mlflow.db").write_text("hello" * 1000)
    with pytest.raises(UserError, match="cannot be used: file is not a database"):
        make(f"sqlite:///{tmp_path}/mlflow.db").check()


def test_a_database_of_another_version_is_one_clear_line(uri: str, make: Make) -> None:
    with sqlite3.connect(address.database(uri)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    connection.close()
    with pytest.raises(UserError, match="out-of-date database schema") as error:
        make(uri).check()
    assert "\n" not in str(error.value)


def test_a_locked_database_is_waited_for(
    uri: str, make: Make, client: Client, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "FIRST_WAIT_S", 0.05)
    tracker = make(uri)
    tracker.check()
    assert tracker._pump
    refused = threading.Event()
    write, first = tracker._pump.server.metrics, iter([True])

    def busy(run_id: str, rows: Any) -> None:
        if next(first, False):
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

            refused.set()
            with translated():
                raise MlflowException(
                    "(sqlite3.OperationalError) database is locked", error_code=TEMPORARILY_UNAVAILABLE
                )
        write(run_id, rows)

    monkeypatch.setattr(tracker._pump.server, "metrics", busy)
    tell(tracker, "a", range(3))
    tracker.close("finished")
    assert refused.is_set()
    assert ["does not answer" in line for line in said] == [True, False]
    assert "answers again" in said[1]
    assert len(client(uri).get_metric_history(runs(client(uri))["a"].info.run_id, "loss")) == 3


class _Shop(BaseHTTPRequestHandler):
    """Something on the port that is not MLflow."""

    def do_GET(self) -> None:
        self.send_response(int(self.server.status))  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"<html>")

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "not an MLflow"), (200, "not an MLflow"), (401, "MLFLOW_TRACKING_TOKEN"), (403, "denies access")],
)
def test_an_address_of_something_else_is_one_clear_line(make: Make, said: list[str], status: int, message: str) -> None:
    with HTTPServer(("127.0.0.1", 0), _Shop) as shop:
        shop.status = status  # type: ignore[attr-defined]
        thread = threading.Thread(target=shop.serve_forever, args=(0.01,))
        thread.start()
        try:
            tracker = make(f"http://me:secret@127.0.0.1:{shop.server_port}")
            with pytest.raises(UserError, match=message) as error:
                tracker.check()
        finally:
            shop.shutdown()
            thread.join()
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert said == []


def test_an_address_where_nobody_answers_is_one_clear_line(
    make: Make, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pump_module, "PATIENCE_S", 0.2)
    tracker = make("http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be reached \(connection refused\)"):
        tracker.check()
    tracker.close("failed")
    assert said == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_full_disk_is_said_once_and_the_caller_goes_on(
    uri: str, make: Make, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = make(uri)
    tracker.check()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vaetune.tracking.spool.os.write", full)
        tell(tracker, "a", range(3))
    assert len(said) == 1
    assert "No space left" in said[0]


def test_a_fault_of_ours_is_said_and_does_not_reach_the_caller(uri: str, make: Make, said: list[str]) -> None:
    def fault(*_: str) -> None:
        raise KeyError("table")

    tracker = make(uri, on_run=fault)
    tell(tracker, "a", range(2))
    tracker.close("finished")
    assert len(said) == 1
    assert "broke off (KeyError" in said[0]


def test_an_installation_without_mlflow_is_found_at_the_check(
    make: Make, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracker = make(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match="mend the installation"):
        tracker.check()
    tracker.close("failed")
    assert said == []
