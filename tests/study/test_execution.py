from __future__ import annotations

from pathlib import Path

import pytest

from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import execution, lock, runner
from vaetune.study.execution import Execution
from vaetune.study.load import Loaded, load
from vaetune.study.options import Options

FILE = """
from vaetune.study import Arm, Study
STUDY = Study(name="s", hypothesis="h", arms=(Arm(name="one", summary=""), Arm(name="two", summary="")))
"""
INFO = {"name": "digits", "digest": "0"}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "s.py").write_text(FILE)
    return load(str(tmp_path / "s.py"))


def started(loaded: Loaded, tmp_path: Path, seed: int = 0) -> Execution:
    return execution.create(loaded, loaded.preset("default"), options(tmp_path, seed), INFO)


def options(tmp_path: Path, seed: int = 0) -> Options:
    return Options(storage=str(tmp_path / "runs"), seed=seed)


def offered(loaded: Loaded, tmp_path: Path, seed: int = 0) -> str | None:
    return execution.unfinished(loaded, loaded.preset("default"), options(tmp_path, seed), INFO)


def test_an_unfinished_run_of_this_very_study_is_offered(loaded: Loaded, tmp_path: Path) -> None:
    assert offered(loaded, tmp_path) is None
    run = started(loaded, tmp_path)
    assert offered(loaded, tmp_path) == run.run
    assert offered(loaded, tmp_path, seed=1) is None  # another study


def test_one_that_is_finished_or_under_way_or_damaged_is_not(loaded: Loaded, tmp_path: Path) -> None:
    run = started(loaded, tmp_path)
    with lock.held(run.storage):
        assert offered(loaded, tmp_path) is None
    assert offered(loaded, tmp_path) == run.run
    record = run.storage.read("study.json")
    run.storage.write("study.json", record[:-9])
    assert offered(loaded, tmp_path) is None
    run.storage.write("study.json", record)
    run.storage.write("report/report.html", b"done")
    assert offered(loaded, tmp_path) is None


def test_a_run_that_died_before_its_environment_was_written_is_resumed(loaded: Loaded, tmp_path: Path) -> None:
    run = started(loaded, tmp_path)
    run.storage.delete("environment.json")
    again = Options(storage=str(tmp_path / "runs"), resume=run.run)
    found = execution.reopen(loaded, loaded.preset("default"), again, INFO)
    assert found.environment["packages"]
    assert Storage(tmp_path / "runs" / "s" / run.run).exists("environment.json")


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"name": 1}'])
def test_a_damaged_record_is_named(text: str, loaded: Loaded, tmp_path: Path) -> None:
    run = started(loaded, tmp_path)
    again = Options(storage=str(tmp_path / "runs"), resume=run.run)
    for name in ("environment.json", "study.json"):
        run.storage.write(name, text.encode())
        with pytest.raises(UserError, match=r"damaged|another name"):
            execution.reopen(loaded, loaded.preset("default"), again, INFO)


def test_the_command_to_resume_keeps_what_was_typed_but_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["x", "s.py", "--tracking-uri", "https://me:hunter2@host/x", "--resume=old", "--seed", "3"]
    monkeypatch.setattr("sys.argv", typed)
    command = runner._resume_command(Options(), "RUN")
    assert command.endswith("vaetune.study s.py --tracking-uri 'https://me:***@host/x' --seed 3 --resume RUN")
