"""Two studies that begin at once on one SQLite file that is not there yet."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_neither_loses_a_run_nor_meets_a_half_made_database(
    study: Callable[..., subprocess.Popen[str]],
    tiny: Path,
    tmp_path: Path,
    check_courses: Callable[..., None],
    stored: str,
) -> None:
    names = ("left", "right")
    for name in names:
        (tmp_path / f"{name}.py").write_text(tiny.read_text().replace('name="tiny"', f'name="{name}"'))
    few = ("--phase", "search", "--set", "budget.trials=2", "--set", "budget.top_k=1")
    both = [study(str(tmp_path / f"{name}.py"), "--storage", str(tmp_path), *few) for name in names]
    for driver in both:
        out, _ = driver.communicate(timeout=400)
        assert driver.returncode == 0, out
        assert "MLflow" not in out, out  # nothing waited, nothing was lost
    of_one = f"{stored} AND r.experiment_id = (SELECT experiment_id FROM experiments WHERE name = ?)"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        for name in names:
            (run,) = [path for path in (tmp_path / name).iterdir() if path.is_dir()]
            check_courses(run, connection.execute(of_one, (name,)))
