"""Mistakes of a person who brings a study to a cluster: exit code 2 and one clear line each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


def mistake(home: Path, *arguments: str, **environment: str) -> str:
    """The line that the study answers with."""
    done = subprocess.run(
        [sys.executable, "-m", "vaetune.study", "tests/cluster/small.py", *arguments, "--tracking-uri", "none"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("bucket", "keys", "expected"),
    [
        ("nowhere", {}, "there is no bucket nowhere; make it, or name another one"),
        ("team", {"AWS_SECRET_ACCESS_KEY": "another"}, "may they use the bucket"),
        ("team", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Are there credentials in the environment"),
    ],
)
def test_a_bucket_that_is_not_there_or_not_ours(
    weed: Any, tmp_path: Path, bucket: str, keys: dict[str, str], expected: str
) -> None:
    environment = {**weed.KEYS, **keys, "AWS_ENDPOINT_URL_S3": weed.endpoint}
    assert expected in mistake(tmp_path, "--storage", f"s3://{bucket}/runs", **environment)


class Elsewhere(BaseHTTPRequestHandler):
    """S3, asked in one region for a bucket of another."""

    def do_HEAD(self) -> None:
        self.send_response(301)
        self.send_header("x-amz-bucket-region", "eu-central-1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_bucket_in_another_region(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        said = mistake(tmp_path, "--storage", "s3://team/runs", **keys, AWS_ENDPOINT_URL_S3=endpoint)
        server.shutdown()
    assert "the configured region is 'eu-west-1' while the bucket is located in 'eu-central-1'" in said


@pytest.mark.parametrize("way", [("--submit", "http://127.0.0.1:1"), ("--address", "auto")])
def test_no_token_one_that_others_can_read_and_no_dashboard(tmp_path: Path, way: tuple[str, str]) -> None:
    to = (*way, "--storage", "s3://team/runs")
    assert "no token of the cluster" in mistake(tmp_path, *to)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("f" * 64)
    token.chmod(0o644)
    assert f"chmod 600 {token}" in mistake(tmp_path, *to)
    token.chmod(0o600)
    if "--submit" in way:  # "auto" would find any Ray that happens to run on this machine
        assert "no Ray dashboard at http://127.0.0.1:1" in mistake(tmp_path, *to)


def test_both_ways_at_once_are_one_too_many(tmp_path: Path) -> None:
    assert "give one" in mistake(tmp_path, "--submit", "http://127.0.0.1:1", "--address", "auto")
