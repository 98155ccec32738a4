"""Models out of a real MLflow server, which a real study has published there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from vaetune.errors import UserError
from vaetune.pull.loading import load, load_all
from vaetune.tracking.shelf import Published, Shelf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


@dataclass
class Served:
    """A server's address, the root of the results, the execution's RUN, and the files that the server keeps."""

    uri: str
    root: Path
    run: str
    artifacts: Path

    @property
    def folder(self) -> Path:
        return self.root / "tiny" / self.run


@pytest.fixture(scope="module")
def served(
    study: Callable[..., subprocess.Popen[str]], tiny: Path, tmp_path_factory: pytest.TempPathFactory, port: int
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True)
    uri, root = f"http://127.0.0.1:{port}", folder / "runs"
    try:
        deadline = time.monotonic() + 180
        while not answers(uri):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        driver = study(str(tiny), "--storage", str(root), "--tracking-uri", uri)
        out, _ = driver.communicate(timeout=500)
        assert driver.returncode == 0, out
        assert "published 3 models: new champion" in out
        (run,) = [path.name for path in (root / "tiny").iterdir() if path.is_dir()]
        yield Served(uri, root, run, folder / "artifacts")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


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
    ours = load(served.folder, "svae_decoder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    champion = load("tiny", "svae_decoder")
    assert same(champion, ours)
    assert (champion.study, champion.run) == ("tiny", served.run)
    assert champion.config == ours.config
    assert champion.metrics["test/error"] == ours.metrics["test/error"]
    images, labels = champion.data()
    error = (champion.predict(images).argmax(1) != labels).double().mean()
    assert error == pytest.approx(champion.metrics["val/error"])
    with pytest.raises(UserError, match="came from MLflow, which keeps the final weights only"):
        next(champion.states())
    assert len(list(load(served.folder, id="svae_decoder-rep00").states())) > 1


def test_by_run_id(served: Served, tmp_path: Path) -> None:
    shelf = Shelf(served.uri)
    execution = load(served.run, "svae", tracking_uri=served.uri, storage=str(tmp_path))
    assert same(execution, load(served.folder, "svae"))
    ids = {r.own_id: r.run_id for r in __import__("vaetune").tables.Tables(_storage(served)).read("runs").itertuples()}
    assert load(ids[execution.id], tracking_uri=served.uri).id == execution.id
    assert load(ids[served.run], "svae", tracking_uri=served.uri).id == execution.id
    other = next(id for id in ids if id.startswith("svae-rep") and id != execution.id)
    with pytest.raises(UserError, match=f"{other}.* has no published model"):
        load(ids[other], tracking_uri=served.uri)
    with pytest.raises(UserError, match="which arm of MLflow's run"):
        shelf.of_run(ids[served.run], None)
    with pytest.raises(UserError, match="not found"):
        load("0" * 32, "svae", tracking_uri=served.uri)


def _storage(served: Served) -> Any:
    from vaetune.storage import Storage

    return Storage(served.folder)


def test_all_that_match(served: Served) -> None:
    found = load_all("tiny", {"model.bottleneck": "gaussian"}, tracking_uri=served.uri)
    assert {m.arm for m in found} == {"svae", "svae_decoder"}
    with pytest.raises(UserError, match=r"unknown study at .* 'tiyn': did you mean 'tiny'"):
        load_all("tiyn", tracking_uri=served.uri)


def test_the_explorer_lies_beside_the_report_and_in_mlflow(served: Served) -> None:
    text = (served.folder / "report" / "explorer.html").read_text()
    assert "svae_decoder-rep" in text
    assert "plain-rep" not in text, "only what decodes"
    assert '<a href="explorer.html">' in (served.folder / "report" / "report.html").read_text()
    (copy,) = served.artifacts.rglob("report/explorer.html")
    assert copy.read_text() == text


def test_damage_on_the_server_is_noticed(served: Served) -> None:
    shelf = Shelf(served.uri)
    published = shelf.champion("tiny", "plain")
    (weights,) = [p for p in served.artifacts.rglob("checkpoint/weights.safetensors") if _of(p, published)]
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1])
        with pytest.raises(UserError, match=r"tiny-plain version 1 .*weights.safetensors is damaged or was cut short"):
            load("tiny", "plain", tracking_uri=served.uri)
        weights.unlink()
        with pytest.raises(UserError, match=r"weights.safetensors is missing"):
            load("tiny", "plain", tracking_uri=served.uri)
    finally:
        weights.write_bytes(whole)
    assert load("tiny", "plain", tracking_uri=served.uri).id == published.id


def _of(path: Path, published: Published) -> bool:
    return f'"id": "{published.id}"' in (path.parent / "config.json").read_text()


def test_a_killed_pull_leaves_only_whole_files_and_goes_on(served: Served, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaetune.pull", "tiny", "--arm", "svae", "--tracking-uri", served.uri]
    command += ["--to", str(tmp_path)]
    pull = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not list(tmp_path.rglob("config.json")):
        assert pull.poll() is None
        time.sleep(0.001)
    pull.kill()
    pull.wait()
    target = tmp_path / "tiny" / served.run
    expected = served.folder / "checkpoints" / load(served.folder, "svae").id
    for path in (p for p in target.rglob("*") if p.is_file() and not p.name.startswith(".")):
        assert path.read_bytes() == (expected / path.name).read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(target)
    assert same(load(target, "svae"), load(served.folder, "svae"))


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MLflow at http://127.0.0.1:9: connection refused"):
        load("tiny", "svae", tracking_uri="http://127.0.0.1:9")
