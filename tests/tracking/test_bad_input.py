"""What is wrong with the tracking is said before anything is trained, by the command itself: one line, exit code 2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# Ray's place is taken by nothing: what would train fails, and not with a message of ours.
WITHOUT_RAY = """
import contextlib, sys
from vaetune.study import cluster
cluster.connected = lambda *_: contextlib.nullcontext(1)
from vaetune.study.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def refused(*arguments: str) -> list[str]:
    """What the command says on standard error, its hint how to go on aside."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr.partition("What is done is kept.")[0].splitlines()


def trained(storage: Path) -> list[Path]:
    return [*storage.glob("*/*/tables/history/*"), *storage.glob("*/*/checkpoints/*")]


def test_an_address_of_no_kind_leaves_nothing_behind(tiny: Path, tmp_path: Path) -> None:
    (line,) = refused(str(tiny), "--storage", str(tmp_path / "runs"), "--tracking-uri", "localhost:5000")
    assert line.startswith("vaetune: MLflow cannot keep runs at 'localhost:5000': give sqlite:///")
    assert not (tmp_path / "runs").exists()


def test_a_server_that_is_not_there(tiny: Path, tmp_path: Path, port: int) -> None:
    uri = f"http://127.0.0.1:{port}"
    (line,) = refused(str(tiny), "--storage", str(tmp_path), "--tracking-uri", uri)
    assert line == (
        f"vaetune: MLflow at {uri} cannot be reached (connection refused): start it, mend the address, or go without "
        "tracking"
    )
    assert trained(tmp_path) == []


def test_an_experiment_that_was_deleted(tiny: Path, tmp_path: Path, uri: str, client: Callable[[str], Any]) -> None:
    experiment = client(uri).create_experiment("tiny")
    client(uri).delete_experiment(experiment)
    (line,) = refused(str(tiny), "--storage", str(tmp_path), "--tracking-uri", uri)
    assert line.startswith("vaetune: MLflow's experiment 'tiny' was deleted from sqlite:///")
    assert f"mlflow experiments restore --experiment-id {experiment}" in line
    assert trained(tmp_path) == []


def test_a_database_that_may_not_be_written(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = refused(str(tiny), "--storage", str(tmp_path), "--tracking-uri", f"sqlite:///{tmp_path}/file/mlflow.db")
    assert line.startswith(f"vaetune: the MLflow database {tmp_path}/file/mlflow.db cannot be used: ")
    assert trained(tmp_path) == []


def test_a_name_that_names_no_experiment(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(tiny.read_text().replace('name="tiny"', 'name="ti/ny β"'))
    (line,) = refused(str(tmp_path / "odd.py"), "--storage", str(tmp_path / "runs"))
    assert "the study name 'ti/ny β' must be letters, digits and underscores" in line
    assert not (tmp_path / "runs").exists()
