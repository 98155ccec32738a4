"""Results out of a real S3 server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

import vaetune
from vaetune.errors import UserError
from vaetune.pull.loading import load, load_all
from vaetune.storage import Storage

pytestmark = [pytest.mark.s3, pytest.mark.timeout(300)]

RUN = "20260102-030405-abcd"


@pytest.fixture
def bucket(weed: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a root that holds the execution in `folder`."""
    for name, text in {**weed.KEYS, "AWS_ENDPOINT_URL": weed.endpoint, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, text)
    uri = f"s3://team/{tmp_path.name}"
    storage = Storage(uri).below(f"toy/{RUN}")
    for path in (p for p in folder.rglob("*") if p.is_file()):
        storage.write(str(path.relative_to(folder)), path.read_bytes())
    return uri


def test_what_is_loaded_from_s3_is_what_was_written(bucket: str, folder: Path) -> None:
    ours = load(folder, "svae")
    for source in (f"{bucket}/toy/{RUN}", f"{bucket}/toy"):
        found = load(source, "svae")
        assert (found.id, found.metrics) == (ours.id, ours.metrics)
        assert all(torch.equal(t, ours.model.state_dict()[n]) for n, t in found.model.state_dict().items())
    assert load(RUN, "svae", storage=bucket).id == ours.id
    assert [m.id for m in load_all(f"{bucket}/toy/{RUN}", {"arm": "plain", "phase": "replicate"})] == [
        "plain-rep00",
        "plain-rep01",
        "plain-rep02",
    ]
    for one, other in zip(vaetune.tables(f"{bucket}/toy"), vaetune.tables(folder), strict=True):
        assert one.equals(other)


def test_damage_in_the_bucket_is_noticed(bucket: str) -> None:
    storage = Storage(f"{bucket}/toy/{RUN}")
    name = "checkpoints/svae-rep01/weights.safetensors"
    storage.write(name, storage.read(name)[:-1])
    with pytest.raises(UserError, match="size or hash differs"):
        load(f"{bucket}/toy", "svae")


@pytest.fixture
def half(weed: Any, bucket: str, relay: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A relay to the server, which breaks off in the middle of weights."""
    found = relay(urlsplit(weed.endpoint).port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.uri)
    found.breaking = ["weights.safetensors"]
    return found


def pulling(bucket: str, to: Path) -> list[str]:
    return [sys.executable, "-m", "vaetune.pull", f"{bucket}/toy", "--arm", "svae", "--to", str(to)]


def files(target: Path) -> set[str]:
    return {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}


def test_a_pull_killed_in_the_middle_of_a_file_goes_on(half: Any, bucket: str, folder: Path, tmp_path: Path) -> None:
    target, own = tmp_path / "to" / "toy" / RUN, "checkpoints/svae-rep01"
    pull = subprocess.Popen(pulling(bucket, tmp_path / "to"), stdout=subprocess.DEVNULL)
    assert half.halfway.wait(120)
    pull.kill()
    pull.wait()
    there = files(target)
    assert {name for name in there if "checkpoints" in name} == {f"{own}/config.json"}
    with pytest.raises(UserError, match="unknown checkpoint"):
        load(target, "svae")
    half.asked.clear()
    subprocess.run(pulling(bucket, tmp_path / "to"), check=True, stdout=subprocess.DEVNULL)
    assert half.asked.count("weights.safetensors") == 1
    assert "config.json" not in half.asked, "what is there and whole is not fetched again"
    for name in files(target):
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    assert load(target, "svae").id == "svae-rep01"


def test_a_connection_that_breaks_off_in_the_middle_of_a_file_is_made_again(
    half: Any, bucket: str, folder: Path, tmp_path: Path
) -> None:
    half.go_on.set()
    subprocess.run(pulling(bucket, tmp_path / "to"), check=True, stdout=subprocess.DEVNULL)
    assert half.halfway.is_set()
    assert half.asked.count("weights.safetensors") >= 2
    target = tmp_path / "to" / "toy" / RUN
    for name in files(target):
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    assert load(target, "svae").id == "svae-rep01"


def test_a_wrong_key_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = subprocess.run(
        [sys.executable, "-m", "vaetune.pull", f"{bucket}/toy", "--to", str(tmp_path / "to")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "ACCESS_DENIED" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith(f"vaetune: {bucket}/toy: ")
