from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import fs

from vaetune import storage
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import lock

HOLD = """
import sys, time
from vaetune.storage import Storage
from vaetune.study.lock import held
with held(Storage(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_told_who_holds_the_folder_until_that_one_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {first.pid} on "), lock.held(Storage(tmp_path)):
            pass
    finally:
        first.kill()
        first.communicate()
    with lock.held(Storage(tmp_path)):  # the kernel has let it go
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    (tmp_path / "bucket").mkdir()
    disk = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(storage, "open_s3", lambda uri: (disk, "bucket"))
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: None)
    return Storage("s3://bucket")


def test_a_lease_in_s3_is_held_and_given_back(bucket: Storage) -> None:
    with lock.held(bucket):
        with pytest.raises(UserError, match=f"process {os.getpid()}"), lock.held(bucket):
            pass
        assert bucket.exists(lock.NAME)
    assert not bucket.exists(lock.NAME)


def test_a_lease_of_a_dead_process_of_this_machine_is_nobodys(bucket: Storage) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = {"pid": ended.pid, "host": socket.gethostname(), "since": "then", "token": "x", "renewed": time.time()}
    bucket.write(lock.NAME, json.dumps(left).encode())
    with lock.held(bucket):
        assert json.loads(bucket.read(lock.NAME))["pid"] == os.getpid()


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b"null", b'{"renewed": "x"}', b'{"renewed": 9e99}'])
def test_what_is_no_lease_holds_nobody_off(left: bytes, bucket: Storage) -> None:
    bucket.write(lock.NAME, left)
    with lock.held(bucket):
        assert json.loads(bucket.read(lock.NAME))["pid"] == os.getpid()


@pytest.mark.parametrize(("age", "free"), [(0.0, False), (3 * lock.RENEW + 1, True)])
def test_a_lease_that_was_not_renewed_is_nobodys(age: float, free: bool, bucket: Storage) -> None:
    left = {"pid": 1, "host": "gone", "since": "then", "token": "x", "renewed": time.time() - age}
    bucket.write(lock.NAME, json.dumps(left).encode())
    if free:
        with lock.held(bucket):
            assert json.loads(bucket.read(lock.NAME))["pid"] == os.getpid()
    else:
        with pytest.raises(UserError, match="process 1 on gone"), lock.held(bucket):
            pass
