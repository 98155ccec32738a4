from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vaetune.study.scratch import scratch

HOLD = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from vaetune.study.scratch import scratch
with scratch() as folder:
    (folder / "big").write_text("data")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_there_and_then_not(tmp_path: Path) -> None:
    with scratch() as folder:
        (folder / "a").mkdir()
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    folder = Path(other.stdout.readline().strip())
    try:
        with scratch():
            assert (folder / "big").exists()
    finally:
        other.kill()
        other.communicate()
    assert folder.exists()
    with scratch():
        assert not folder.exists()


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "vaetune-new").mkdir()
    (tmp_path / "vaetune-new" / "owner").touch()
    with scratch():
        assert (tmp_path / "vaetune-new").exists()
