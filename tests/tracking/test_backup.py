from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow import fs

from vaetune import storage
from vaetune.storage import Storage
from vaetune.tracking import backup


def test_a_database_in_use_is_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bucket").mkdir()
    monkeypatch.setattr(
        storage, "open_s3", lambda uri: (fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket")
    )
    with closing(sqlite3.connect(tmp_path / "live.db")) as live:
        live.execute("create table t (x)")
        live.execute("insert into t values (1)")
        live.commit()
        live.execute("insert into t values (2)")  # not committed: must not be in the copy
        assert backup.copy(f"sqlite:///{tmp_path / 'live.db'}", Storage("s3://bucket"))
    with closing(sqlite3.connect(tmp_path / "bucket" / "mlflow.db")) as copied:
        assert copied.execute("select x from t").fetchall() == [(1,)]


@pytest.mark.parametrize("uri", [None, "http://127.0.0.1:5000"])
def test_what_is_kept_elsewhere_is_not_copied(uri: str | None, tmp_path: Path) -> None:
    assert not backup.copy(uri, Storage(tmp_path))


def test_beside_a_local_root_nothing_is_copied(tmp_path: Path) -> None:
    assert not backup.copy(f"sqlite:///{tmp_path / 'mlflow.db'}", Storage(tmp_path))
