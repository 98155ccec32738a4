"""A study whose driver is killed and resumed, as MLflow has it afterwards."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TWINS = """
SELECT t.value, count(*) FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid
WHERE t.key = 'vaetune.id' AND r.lifecycle_stage = 'active' GROUP BY t.value HAVING count(*) > 1
"""

Start = Callable[..., subprocess.Popen[str]]


def trials_begun(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM tags WHERE key = 'vaetune.kind' AND value = 'trial'"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # tables still being made
        return 0


def test_a_killed_driver_leaves_no_twin_no_gap_and_nothing_running(
    study: Start, tiny: Path, tmp_path: Path, check_courses: Callable[..., None], stored: str
) -> None:
    arguments = [str(tiny), "--storage", str(tmp_path), "--reproducible"]
    driver = study(*arguments)
    deadline = time.monotonic() + 240
    while trials_begun(tmp_path / "mlflow.db") < 5:
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.communicate()
    (run,) = [path for path in (tmp_path / "tiny").iterdir() if path.is_dir()]
    again = study(*arguments, "--resume", run.name)
    out, _ = again.communicate(timeout=400)
    assert again.returncode == 0, out
    assert "new champion" in out
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        check_courses(run, connection.execute(stored), trained_again=True)
        running = connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0]
        parents = connection.execute("SELECT count(*) FROM tags WHERE value = 'execution'").fetchone()[0]
        twins = connection.execute(TWINS).fetchall()
    assert (running, parents, twins) == (0, 1, [])
