"""Models out of a real MLflow server, published there as a study publishes them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from vaetune.errors import UserError
from vaetune.pull.loading import load, load_all
from vaetune.tracking import Tracker
from vaetune.tracking.models import Release
from vaetune.tracking.parts import parts
from vaetune.tracking.publisher import Publisher
from vaetune.tracking.shelf import Published, Shelf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

RUN = "20260102-030405-abcd"
BEST = {"plain": "plain-rep01", "svae": "svae-rep01"}


@dataclass
class Served:
    """A server's address, the folder of the execution, the files that the server keeps, its run ids by our own."""

    uri: str
    folder: Path
    artifacts: Path
    ids: dict[str, str]


@pytest.fixture(scope="module")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    shutil.copytree(template, folder / "runs")
    try:
        deadline = time.monotonic() + 300
        while not answers(uri):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        execution = folder / "runs" / "toy" / RUN
        yield Served(uri, execution, folder / "artifacts", publish(uri, execution, folder / "spool"))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def publish(uri: str, folder: Path, spool: Path) -> dict[str, str]:
    """The best replicate of each arm, and the run of another one; returns MLflow's ids."""
    ids: dict[str, str] = {}
    said: list[str] = []
    tracker = Tracker(
        uri,
        spool=spool,
        experiment="toy",
        run=RUN,
        say=said.append,
        on_run=lambda own, run_id, experiment: ids.__setitem__(own, run_id),
    )
    tracker.start()
    tracker.check(180)
    for id in (*BEST.values(), "svae-rep02"):
        tracker.begin(id, id, {"vaetune.kind": "replicate", "vaetune.arm": id.partition("-")[0]}, {"beta": 1}, 1)
        tracker.metrics(id, [(name, value, 2, 1) for name, value in load(folder, id=id).metrics.items()])
        tracker.end(id, "finished", 2)
    tracker.close("finished")
    assert said == []
    publisher = Publisher(uri, "toy", RUN)
    for arm, id in BEST.items():
        found = load(folder, id=id)
        images, labels = found.data()
        files = {path.name: path.read_bytes() for path in (folder / "checkpoints" / id).iterdir()}
        release = Release(
            study="toy",
            arm=arm,
            run=RUN,
            replicate_id=id,
            parts=parts(found.model, found.transform(images[:4]), labels[:4]),
            files=files,
            card="# A card",
            score=0.2,
            minimize=True,
            basis="b",
        )
        assert publisher.model(release) == "new champion"
    return ids


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2):
            return True
    except OSError:
        return False


def same(one: Any, other: Any) -> bool:
    weights, others = one.model.state_dict(), other.model.state_dict()
    return one.id == other.id and all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_champion_is_the_best_replicate_of_the_folder(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = load(served.folder, "svae")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    champion = load("toy", "svae")
    assert same(champion, ours)
    assert (champion.study, champion.run) == ("toy", RUN)
    assert champion.config == ours.config
    assert champion.metrics == ours.metrics
    images, _ = champion.data()
    assert torch.equal(champion.predict(images), ours.predict(images))
    with pytest.raises(UserError, match="came from MLflow, which keeps the final weights only"):
        next(champion.states())


def test_by_run_id(served: Served, tmp_path: Path) -> None:
    def pulled(source: str, arm: str | None = None) -> Any:
        return load(source, arm, tracking_uri=served.uri, storage=str(tmp_path))

    ours = load(served.folder, "svae")
    for found in (pulled(RUN, "svae"), pulled(served.ids["svae-rep01"]), pulled(served.ids[RUN], "svae")):
        assert same(found, ours)
    with pytest.raises(UserError, match=r"svae-rep02\) at .* has no published model"):
        pulled(served.ids["svae-rep02"])
    with pytest.raises(UserError, match=r"which arm of MLflow's run .*\? plain, svae"):
        pulled(served.ids[RUN])
    with pytest.raises(UserError, match=r"unknown arm of run .* 'svea': did you mean 'svae'"):
        pulled(RUN, "svea")
    with pytest.raises(UserError, match="not found"):
        pulled("0" * 32, "svae")


def test_all_that_match(served: Served) -> None:
    found = load_all("toy", {"model.bottleneck": "gaussian"}, tracking_uri=served.uri)
    assert [m.id for m in found] == ["svae-rep01"]
    assert {m.arm for m in load_all("toy", tracking_uri=served.uri)} == {"plain", "svae"}
    with pytest.raises(UserError, match=r"unknown study at .* 'tyo': did you mean 'toy'"):
        load_all("tyo", tracking_uri=served.uri)


def test_damage_on_the_server_is_noticed(served: Served) -> None:
    published = Shelf(served.uri).champion("toy", "plain")
    for weights in served.artifacts.rglob("checkpoint/weights.safetensors"):
        if not _of(weights, published):
            continue
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"toy-plain version 1 .*weights.safetensors is damaged or was cut short"):
        load("toy", "plain", tracking_uri=served.uri)
    for weights in served.artifacts.rglob("checkpoint/weights.safetensors"):
        if _of(weights, published):
            weights.unlink()
    with pytest.raises(UserError, match=r"weights.safetensors is missing"):
        load("toy", "plain", tracking_uri=served.uri)
    for weights in served.artifacts.rglob("checkpoint/config.json"):
        if _of(weights, published):
            weights.with_name("weights.safetensors").write_bytes(whole)
    assert load("toy", "plain", tracking_uri=served.uri).id == published.id


def _of(path: Path, published: Published) -> bool:
    return f'"id": "{published.id}"' in (path.parent / "config.json").read_text()


@pytest.fixture
def half(served: Served, relay: Callable[[int], Any]) -> Any:
    """A relay to the server, which breaks off in the middle of weights."""
    found = relay(urlsplit(served.uri).port)
    found.breaking = ["weights.safetensors"]
    return found


def pulling(uri: str, to: Path) -> list[str]:
    return [sys.executable, "-m", "vaetune.pull", "toy", "--arm", "svae", "--tracking-uri", uri, "--to", str(to)]


def checkpoint(to: Path) -> dict[str, bytes]:
    folder = to / "toy" / RUN / "checkpoints" / BEST["svae"]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pull_killed_in_the_middle_of_a_file_goes_on(served: Served, half: Any, tmp_path: Path) -> None:
    whole = {path.name: path.read_bytes() for path in (served.folder / "checkpoints" / BEST["svae"]).iterdir()}
    pull = subprocess.Popen(pulling(half.uri, tmp_path), stdout=subprocess.DEVNULL)
    assert half.halfway.wait(120)
    pull.kill()
    pull.wait()
    assert checkpoint(tmp_path) == {"config.json": whole["config.json"]}
    half.asked.clear()
    done = subprocess.run(pulling(half.uri, tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "toy" / RUN)
    assert "weights.safetensors" in half.asked
    assert "config.json" not in half.asked, "what is there and whole is not fetched again"
    assert checkpoint(tmp_path) == whole
    assert same(load(tmp_path / "toy" / RUN, "svae"), load(served.folder, "svae"))


def test_a_connection_that_breaks_off_in_the_middle_of_a_file_is_told(
    served: Served, half: Any, tmp_path: Path
) -> None:
    half.go_on.set()
    done = subprocess.run(pulling(half.uri, tmp_path), capture_output=True, text=True, check=False)
    assert half.halfway.is_set()
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"vaetune: MLflow at {half.uri} does not give weights.safetensors of svae-rep01 ")
    assert said.endswith(" (the connection broke off); try again")
    assert set(checkpoint(tmp_path)) == {"config.json"}
    assert subprocess.run(pulling(half.uri, tmp_path), check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert same(load(tmp_path / "toy" / RUN, "svae"), load(served.folder, "svae"))


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MLflow at http://127.0.0.1:9: connection refused"):
        load("toy", "svae", tracking_uri="http://127.0.0.1:9")
