#!/usr/bin/env python3
"""A tracking server for a team: MLflow on PostgreSQL, artifacts in S3 through the server, in one process to supervise.

    serve.py run --data /srv/vaetune-tracking --artifacts s3://bucket/mlflow
    serve.py backup --data /srv/vaetune-tracking --to /backup/2026-11-20
    serve.py check --uri http://127.0.0.1:5000

Needs Debian's `postgresql` and `pip install 'mlflow[auth]' psycopg2-binary boto3` in the Python that runs this file.
See the README beside it for backup, upgrade and access from outside.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import ipaddress
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from postgres import Postgres, Unusable

PASSWORD = "VAETUNE_TRACKING_PASSWORD"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def run(arguments: argparse.Namespace) -> int:
    """Runs both servers until one ends or a signal comes."""
    data = Path(arguments.data).absolute()
    data.mkdir(parents=True, exist_ok=True)
    private = _loopback(arguments.host)
    postgres = Postgres(data / "postgres")
    environment = {**os.environ, **QUIET}
    command = [sys.executable, "-m", "mlflow", "server", "--host", arguments.host, "--port", str(arguments.port)]
    command += ["--workers", str(arguments.workers), "--backend-store-uri", postgres.uri("mlflow")]
    command += ["--serve-artifacts", "--artifacts-destination", arguments.artifacts or str(data / "artifacts")]
    if arguments.allowed_hosts:
        command += ["--allowed-hosts", arguments.allowed_hosts]
    credentials: tuple[str, str] | None = None
    if not private:
        settings, credentials = _access(data, postgres.uri("mlflow_auth"))
        environment |= settings
        command += ["--app-name", "basic-auth"]
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    mlflow: subprocess.Popen[bytes] | None = None
    try:
        postgres.start()
        if arguments.upgrade:
            subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", postgres.uri("mlflow")], check=True)
        mlflow = subprocess.Popen(command, env=environment, stdout=sys.stderr, stderr=sys.stderr)
        local = "127.0.0.1" if arguments.host in ("0.0.0.0", "::") else arguments.host
        uri = f"http://{f'[{local}]' if ':' in local else local}:{arguments.port}"
        health = _Health(arguments.health_port or arguments.port + 1, uri, credentials)
        threading.Thread(target=health.serve_forever, daemon=True).start()
        announced = False
        while not stopping.wait(0.2):
            for name, process in (("MLflow", mlflow), ("PostgreSQL", postgres.process)):
                if process and process.poll() is not None:
                    raise Unusable(f"{name} ended with {process.returncode}; its log is above")
            if not announced and not failing(uri, credentials):
                announced = True
                print(
                    f"ready: MLFLOW_TRACKING_URI={uri}  health: http://127.0.0.1:{health.server_port}/healthz",
                    flush=True,
                )
        return 0
    finally:
        if mlflow and mlflow.poll() is None:
            mlflow.terminate()
            try:
                mlflow.wait(20)
            except subprocess.TimeoutExpired:
                mlflow.kill()
        postgres.stop()


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _access(data: Path, users: str) -> tuple[Mapping[str, str], tuple[str, str]]:
    """Basic auth: MLflow's settings, and the administrator's name and password, which are asked for once."""
    path = data / "auth.ini"
    # Read raw: a password may hold what the format would interpolate.
    ini = configparser.RawConfigParser()
    if not ini.read(path):
        password = os.environ.get(PASSWORD, "")
        if len(password) < 12:
            raise Unusable(
                f"an address beyond this machine needs a password: set {PASSWORD} (12 characters or more), which is "
                "kept for the user admin, or bind to 127.0.0.1"
            )
        ini["mlflow"] = {
            "default_permission": "READ",
            "database_uri": users,
            "admin_username": "admin",
            "admin_password": password,
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            "auth_cache_ttl_seconds": "60",
        }
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            ini.write(file)
    key = data / "secret"
    if not key.exists():
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    settings = {"MLFLOW_AUTH_CONFIG_PATH": str(path), "MLFLOW_FLASK_SERVER_SECRET_KEY": key.read_text()}
    return settings, (ini["mlflow"]["admin_username"], ini["mlflow"]["admin_password"])


def failing(uri: str, credentials: tuple[str, str] | None = None, timeout: float = 3.0) -> str:
    """Why runs cannot be read at `uri`; empty when they can. MLflow's own /health is content without a database."""
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1}).encode(),
        headers={"Content-Type": "application/json"},
    )
    if credentials:
        pair = base64.b64encode(":".join(credentials).encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            json.load(answer)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


class _Health(ThreadingHTTPServer):
    """/healthz on loopback: 200 while runs can be read through MLflow from the database, else 503 and the reason."""

    def __init__(self, port: int, uri: str, credentials: tuple[str, str] | None) -> None:
        self.uri, self.credentials = uri, credentials
        super().__init__(("127.0.0.1", port), _Healthz)


class _Healthz(BaseHTTPRequestHandler):
    server: _Health

    def do_GET(self) -> None:
        why = failing(self.server.uri, self.server.credentials) if self.path == "/healthz" else "no such page"
        self.send_response(404 if self.path != "/healthz" else 503 if why else 200)
        self.end_headers()
        self.wfile.write(f"{why or 'ok'}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a probe every few seconds is no news."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(description="MLflow for a team, on PostgreSQL")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("run", help="run it in the foreground")
    serve.add_argument("--data", required=True, help="folder of the database, the keys and, without S3, the artifacts")
    serve.add_argument("--artifacts", help="s3://bucket/prefix; clients need no key for it (default: below --data)")
    serve.add_argument("--host", default="127.0.0.1", help="any other than loopback switches basic auth on")
    serve.add_argument("--port", type=int, default=5000)
    serve.add_argument("--health-port", type=int, help="of /healthz on loopback (default: the port after --port)")
    serve.add_argument("--workers", type=int, default=2, help="processes of MLflow")
    serve.add_argument("--allowed-hosts", help="names under which it is called, as MLflow's option")
    serve.add_argument("--upgrade", action="store_true", help="bring the database to this MLflow first; backup before")
    backup = commands.add_parser("backup", help="dump the databases of a running server")
    backup.add_argument("--data", required=True)
    backup.add_argument("--to", required=True, help="folder for the dumps")
    check = commands.add_parser("check", help="can runs be read?")
    check.add_argument("--uri", required=True)
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "run":
            return run(arguments)
        if arguments.command == "backup":
            Postgres(Path(arguments.data).absolute() / "postgres").backup(Path(arguments.to))
            return 0
        if why := failing(arguments.uri):
            raise Unusable(f"runs cannot be read at {arguments.uri}: {why}")
        return 0
    except (Unusable, OSError, subprocess.CalledProcessError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
