"""Real servers to kill: MLflow's, and SeaweedFS for S3."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from bench import wait_for


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """A process group that answers at `health`."""

    def __init__(self, log: Path, command: list[str], health: str, **environment: str) -> None:
        self._log, self._command, self._health, self._environment = log, command, health, environment
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=os.environ | self._environment, start_new_session=True
            )
        wait_for(self._answers, f"an answer of {self._health}")

    def kill(self) -> None:
        """-9, all of it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            return bool(urlopen(self._health, timeout=2).status == 200)
        except (URLError, OSError):
            return False


class MLflow(Server):
    """`mlflow server` on a SQLite file in a folder, artifacts beside the folder."""

    def __init__(self, folder: Path) -> None:
        self.port, self.database = free_port(), folder / "mlflow.db"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(folder.parent / "mlartifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        super().__init__(folder / "server.log", command, f"http://127.0.0.1:{self.port}/health", **quiet)


class Weed(Server):
    """A SeaweedFS S3 server with the bucket "faults", which checks its keys."""

    def __init__(self, folder: Path, keys: dict[str, str]) -> None:
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}", "-ip=127.0.0.1"]
        command += ["-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false", "-master.telemetry=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-bucket=faults"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        super().__init__(folder / "weed.log", command, f"{self.endpoint}/healthz", **keys)
