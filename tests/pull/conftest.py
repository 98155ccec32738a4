"""A finished execution made by hand: real models with their checkpoints, tables and record, without a study."""

from __future__ import annotations

import http.client
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vaetune import checkpoints, config
from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.storage import Storage
from vaetune.study import Objective
from vaetune.tables import Tables
from vaetune.training.seeds import Seeds

RUN = "20260102-030405-abcd"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ARMS = {
    "plain": SupervisedVAEConfig(trunk=(16,), latents=4),
    "svae": SupervisedVAEConfig(
        trunk=(16,), latents=4, bottleneck="gaussian", beta=0.01, decoder=(16,), reconstruction=0.1
    ),
}


def _write(root: Path) -> Storage:
    storage = Storage(root).below(f"toy/{RUN}")
    tables = Tables(storage)
    replicates, history = [], []
    for arm, model_config in ARMS.items():
        for i, error in enumerate((0.3, 0.1, 0.2)):
            id = f"{arm}-rep{i:02d}"
            configuration = Configuration(
                model=model_config,
                training=TrainingConfig(epochs=2),
                dataset=DatasetConfig(name="digits", n_train=100, n_validation=50),
            )
            model = model_config.build((1, 8, 8), 10)
            initialise(model, i)
            measured = {"val/error": error, "val/nll": error * 5}
            facts = {
                "id": id,
                "arm": arm,
                "phase": "replicate",
                "configuration": config.to_json(configuration),
                "seeds": asdict(Seeds(i, i, i, i, i)),
                "shape": [1, 8, 8],
                "classes": 10,
                "epoch": 2,
                "history": [{"epoch": 2, "metrics": measured | {"train/loss": 1.0}, "time": 0}],
            }
            checkpoints.save(storage, id, checkpoints.Checkpoint(facts, model.state_dict(), {}))
            row = {"replicate_id": id, "arm": arm, "replicate": i, "search": 0, "seed": i, "config_hash": "h"}
            row |= {"dataset": "digits", "n_train": 100, "label_noise": 0.0, "outcome": "finished", "reason": ""}
            row |= {"epochs": 2, "seconds": 1.0, "parameters": 1, "test/error": error + 0.05, **measured}
            replicates.append(row)
            history.append({"member_id": id, "epoch": 2, "metric": "val/error", "value": error, "time": NOW})
    tables.append("replicates", replicates)
    tables.append("history", history)
    tables.append("history", history[:1])  # told twice
    record = {"name": "toy", "run": RUN, "objective": config.to_json(Objective())}
    storage.write("study.json", json.dumps(record).encode())
    storage.write("report/report.html", b"<p>report</p>")
    return storage


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    _write(root)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A storage root with one finished execution of the study toy."""
    shutil.copytree(template, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "toy" / RUN


@pytest.fixture
def sealed() -> Callable[[Path, dict[str, bytes]], None]:
    """Puts other bytes into a checkpoint's files, with a manifest that agrees: what an attacker could do."""

    def seal(checkpoint: Path, files: dict[str, bytes], **changes: Any) -> None:
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        for name, data in files.items():
            (checkpoint / name).write_bytes(data)
            manifest["files"][name] = {"sha256": checkpoints._sha256(data), "bytes": len(data)}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest | changes))

    return seal


class Relay(http.server.ThreadingHTTPServer):
    """Hands HTTP on to a server on loopback; the next files named in `breaking` come to the middle of their body only.

    There `halfway` is set, and the connection ends when the client does or `go_on` is set. `asked` are the paths of all
    GETs.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.behind, self.uri = port, f"http://127.0.0.1:{self.server_port}"
        self.breaking: list[str] = []
        self.asked: list[str] = []
        self.halfway, self.go_on = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed on purpose here: that they are gone is no error."""


class _Door(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def do_GET(self) -> None:
        relay = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        onwards = http.client.HTTPConnection("127.0.0.1", relay.behind)
        onwards.request(self.command, self.path, body, dict(self.headers))
        answer = onwards.getresponse()
        data = answer.read()
        onwards.close()
        self.send_response_only(answer.status)
        for name, text in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, text)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        self.end_headers()
        name = self.path.partition("?")[0].rpartition("/")[2]
        if self.command == "GET":
            relay.asked.append(name)
            if name in relay.breaking:
                relay.breaking.remove(name)
                self.wfile.write(data[: len(data) // 2])
                relay.halfway.set()
                relay.go_on.wait()
                self.close_connection = True
                return
        self.wfile.write(data)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests read what they need from `asked`."""


@pytest.fixture
def relay() -> Iterator[Callable[[int], Relay]]:
    """Opens relays to ports of this machine."""
    opened: list[Relay] = []

    def open_one(port: int) -> Relay:
        opened.append(Relay(port))
        return opened[-1]

    yield open_one
    for each in opened:
        each.go_on.set()
        each.shutdown()
        each.server_close()
