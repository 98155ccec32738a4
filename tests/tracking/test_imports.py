from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
import vaetune.tracking as t
tracker = t.Tracker({uri!r}, spool=Path({spool!r}), experiment="s", run="r", say=print)
{more}
heavy = [name for name in ("mlflow", "torch", "ray", "pandas", "sqlalchemy") if name in sys.modules]
print(",".join(heavy))
"""


def imported(tmp_path: object, more: str) -> str:
    script = SCRIPT.format(uri="sqlite:////nowhere/mlflow.db", spool=str(tmp_path), more=more)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_importing_and_making_a_tracker_imports_nothing_heavy(tmp_path: object) -> None:
    assert imported(tmp_path, "") == ""


def test_the_test_above_would_notice(tmp_path: object) -> None:
    assert imported(tmp_path, "import sqlalchemy") == "sqlalchemy"
