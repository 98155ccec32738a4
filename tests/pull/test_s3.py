"""Results out of a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


def test_a_killed_pull_leaves_only_whole_files_and_goes_on(bucket: str, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaetune.pull", f"{bucket}/toy", "--all", "--to", str(tmp_path / "to")]
    target = tmp_path / "to" / "toy" / RUN
    pull = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ.copy())
    while not list(target.glob("checkpoints/*/weights.safetensors")):
        assert pull.poll() is None
        time.sleep(0.001)
    pull.kill()
    pull.wait()
    there = [p for p in target.rglob("*") if p.is_file() and not p.name.startswith(".")]
    assert 0 < len(there) < len([p for p in folder.rglob("*") if p.is_file()])
    for path in there:
        assert path.read_bytes() == (folder / path.relative_to(target)).read_bytes()
    assert not [name for name in Storage(target).list("report") if name.endswith(".aside")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (target / path.relative_to(folder)).read_bytes()


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
