"""`cluster/tracking/serve.py` for real: PostgreSQL, S3 through the proxy, access, backup, a study that outlives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from vaetune.errors import UserError
from vaetune.tracking import Tracker
from vaetune.tracking.server import load

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]

Start = Callable[..., subprocess.Popen[str]]
SERVE = Path(__file__).parents[2] / "cluster/tracking/serve.py"
OUTAGE_S = 60


def connect(server: Any) -> Any:
    psycopg2 = pytest.importorskip("psycopg2")
    return closing(psycopg2.connect(host=str(server.folder / "postgres/socket"), user="mlflow", dbname="mlflow"))


@contextmanager
def stopped(driver: subprocess.Popen[str]) -> Iterator[None]:
    """Ends the process with the block, if it has not ended by itself."""
    try:
        yield
    finally:
        driver.kill()


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [below for child in children for below in descendants(int(child))]


def test_health_follows_the_database_not_only_mlflow(team_server: Any) -> None:
    assert team_server.health() == 200
    postmaster = int((team_server.folder / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    processes = descendants(postmaster)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        with urllib.request.urlopen(f"{team_server.uri}/health", timeout=5) as answer:
            assert answer.read() == b"OK"  # what MLflow itself would say
        assert team_server.health() == 503
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while team_server.health() != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_artifacts_reach_s3_without_a_key(team_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "report.html").write_text("<p>of a team")
    said: list[str] = []
    tracker = Tracker(team_server.uri, spool=tmp_path / "spool", experiment="artifacts", run="R", say=said.append)
    tracker.start()
    tracker.check()
    tracker.artifact(tmp_path / "report.html", "report")
    tracker.close("finished")
    assert said == []
    client = load().MlflowClient(team_server.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("artifacts").experiment_id])
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert not (team_server.folder / "artifacts").exists()
    got = Path(client.download_artifacts(run.info.run_id, "report/report.html", str(tmp_path)))
    assert got.read_text() == "<p>of a team"


def test_a_study_outlives_a_minute_without_its_server_and_a_killed_one(
    team_server: Any, study: Start, tiny: Path, tmp_path: Path, check_courses: Callable[..., None], stored: str
) -> None:
    """Each epoch of each member is there afterwards, once, with the time at which it was produced."""
    text = tiny.read_text().replace("(4, 6)", "(12,)").replace("trials=4", "trials=40").replace('"tiny"', '"outage"')
    (tmp_path / "outage.py").write_text(text)
    arguments = [str(tmp_path / "outage.py"), "--storage", str(tmp_path), "--tracking-uri", team_server.uri]
    said: list[str] = []
    with study(*arguments) as driver, stopped(driver):
        lines = iter(driver.stdout or ())
        reader = threading.Thread(target=lambda: said.extend(lines))
        reader.start()
        deadline = time.monotonic() + 240
        while not list((tmp_path / "outage").glob("*/tables/history/part-*.parquet")):
            assert driver.poll() is None, said
            assert time.monotonic() < deadline
            time.sleep(0.05)
        team_server.signal(signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        team_server.signal(signal.SIGCONT)
        time.sleep(1)
        team_server.kill()
        team_server.start()
        driver.wait(300)
        reader.join(10)
    out = "".join(said)
    assert driver.returncode == 0, out
    assert 1 <= out.count("does not answer") <= 2, out  # once an outage
    (run,) = [path for path in (tmp_path / "outage").iterdir() if path.is_dir()]
    if "the rest waits" in out:  # the study was over before the server came back
        done = study(*arguments, "--resume", run.name, "--phase", "publish")
        out, _ = done.communicate(timeout=120)
        assert done.returncode == 0, out
    with connect(team_server) as connection, connection.cursor() as cursor:
        cursor.execute(stored + " AND r.experiment_id = (SELECT experiment_id FROM experiments WHERE name = 'outage')")
        check_courses(run, cursor.fetchall())


def test_two_hundred_runs_outlive_a_frozen_server_and_a_killed_one(team_server: Any, tmp_path: Path) -> None:
    """200 runs of 30 epochs, two values an epoch, told at the pace of a study while the server is away."""
    said: list[str] = []
    tracker = Tracker(team_server.uri, spool=tmp_path / "spool", experiment="away", run="R", say=said.append)
    tracker.start()
    tracker.check()
    told = threading.Event()

    def tell() -> None:
        for trial in range(200):
            tracker.begin(f"t{trial}", f"t{trial}", {"vaetune.kind": "trial"}, {"arm": "a", "seed": trial}, 1)
            for epoch in range(30):
                ms = 1_000_000 * trial + epoch
                tracker.metrics(f"t{trial}", [(name, trial + 1 / (epoch + 1), epoch, ms) for name in ("a", "b")])
            tracker.end(f"t{trial}", "finished", 9)
            told.wait(0.06)  # so that the 200 last longer than the outage

    teller = threading.Thread(target=tell)
    teller.start()
    told.wait(2)
    team_server.signal(signal.SIGSTOP)
    told.wait(8)
    team_server.signal(signal.SIGCONT)
    told.wait(1)
    team_server.kill()
    team_server.start()
    teller.join()
    tracker.close("finished", timeout=240)
    assert 1 <= sum("does not answer" in line for line in said) <= 2, said
    assert not any("not all is in MLflow" in line for line in said), said
    query = """SELECT t.value, m.key, m.step, m.value, m.timestamp, r.status FROM metrics m JOIN runs r USING (run_uuid)
        JOIN experiments e USING (experiment_id) JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'vaetune.id'
        WHERE e.name = 'away' AND r.lifecycle_stage = 'active'"""
    with connect(team_server) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    assert len(rows) == 200 * 30 * 2
    assert {tuple(row) for row in rows} == {
        (f"t{trial}", name, epoch, trial + 1 / (epoch + 1), 1_000_000 * trial + epoch, "FINISHED")
        for trial in range(200)
        for epoch in range(30)
        for name in ("a", "b")
    }


def test_a_backup_restores(team_server: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SERVE), "backup", "--data", str(team_server.folder), "--to", str(tmp_path / "dumps")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with connect(team_server) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE restored")
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM metrics")
        before = cursor.fetchone()
    socket = str(team_server.folder / "postgres/socket")
    command = ["pg_restore", "-h", socket, "-U", "mlflow", "-d", "restored", str(tmp_path / "dumps/mlflow.dump")]
    subprocess.run(command, check=True, timeout=60)
    count = ["psql", "-h", socket, "-U", "mlflow", "-Atd", "restored", "-c", "SELECT count(*) FROM metrics"]
    assert int(subprocess.run(count, check=True, capture_output=True, text=True).stdout) == before[0]


def test_an_address_beyond_this_machine_needs_a_password(tmp_path: Path) -> None:
    command = [sys.executable, str(SERVE), "run", "--data", str(tmp_path), "--host", "0.0.0.0"]
    quiet = {key: text for key, text in os.environ.items() if key != "VAETUNE_TRACKING_PASSWORD"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=quiet, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"serve: an address beyond this machine needs a password: .*\n", done.stderr)


@pytest.fixture(scope="module")
def guarded(team_server: Any) -> Iterator[Any]:
    """A second server, as others reach it: with basic auth."""
    server = type(team_server)("--host", "0.0.0.0", VAETUNE_TRACKING_PASSWORD="correct horse battery")
    try:
        server.start()
        yield server
        assert server.stop() == 0
    finally:
        server.remove()


def test_basic_auth_is_on_beyond_loopback(guarded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded.health() == 200
    said: list[str] = []

    def tracker() -> Tracker:
        made = Tracker(guarded.uri, spool=tmp_path / "spool", experiment="s", run="R", say=said.append)
        made.start()
        return made

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    for password, allowed in (("wrong", False), ("correct horse battery", True)):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        one = tracker()
        if allowed:
            one.check()
        else:
            with pytest.raises(UserError, match="denies access"):
                one.check()
        one.close("finished")
    assert said == []
    assert oct((guarded.folder / "auth.ini").stat().st_mode)[-3:] == "600"


def test_a_study_begins_from_a_model_of_the_team(team_server: Any, warm: Any, tmp_path: Path) -> None:
    source = warm.finished(tmp_path / "source", "--tracking-uri", team_server.uri)
    begun = warm.begun_from("models:/warm-one@champion", tmp_path / "target", "--tracking-uri", team_server.uri)
    warm.ends_with(begun, source)
