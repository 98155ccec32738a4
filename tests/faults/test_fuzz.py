"""Whatever lies in the files and stands on the command line: every failure is one of our errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import __main__ as cli
from vaetune.study import execution
from vaetune.study.load import Loaded, load
from vaetune.study.options import PHASES, Options
from vaetune.tables import SCHEMAS, Tables

fuzzed = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
INFO = {"name": "digits", "digest": "0", "train": 9, "test": 9, "classes": 10, "n_train": 5, "n_validation": 4}


def damaged(draw: Callable[..., Any], data: bytes) -> bytes:
    """Truncated, with some bits flipped, or something else altogether."""
    how = draw(st.sampled_from(["truncate", "flip", "replace", "append"]))
    if how == "truncate":
        return data[: draw(st.integers(0, max(len(data) - 1, 0)))]
    if how == "replace":
        return bytes(draw(st.binary(max_size=64)))
    if how == "append":
        return data + bytes(draw(st.binary(min_size=1, max_size=8)))
    out = bytearray(data)
    for at in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        out[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(out)


def changed(draw: Callable[..., Any], data: Any) -> Any:
    """JSON with one value, at any depth, replaced or removed."""
    if isinstance(data, dict) and data and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(data)))
        if draw(st.integers(0, 3)) == 0:
            return {k: v for k, v in data.items() if k != key}
        return data | {key: changed(draw, data[key])}
    return draw(JSON)


def agree(found: Any, was: Any) -> bool:
    """Whether what is there is as it was; what is not there is as it was when nobody could choose it."""
    if isinstance(found, dict) and isinstance(was, dict):
        return all(agree(found[key], was[key]) for key in was if key in found)
    return bool(found == was)


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(str(Path(__file__).with_name("faults.py")))


@pytest.fixture
def run(loaded: Loaded, tmp_path: Path) -> Callable[..., tuple[Path, Callable[[], Any]]]:
    """Makes an execution and a function that reopens it."""
    study = loaded.preset("default")

    def make() -> tuple[Path, Callable[[], Any]]:
        shutil.rmtree(tmp_path / "faults", ignore_errors=True)
        options = Options(storage=str(tmp_path))
        made = execution.create(loaded, study, options, INFO)
        again = Options(storage=str(tmp_path), resume=made.run)
        assert made.storage.local
        assert execution.unfinished(loaded, study, options, INFO) == made.run
        return made.storage.local, lambda: execution.reopen(loaded, study, again, INFO)

    return make


@fuzzed
@given(data=st.data())
@pytest.mark.parametrize("name", ["study.json", "environment.json"])
def test_records(name: str, run: Callable[..., Any], data: st.DataObject) -> None:
    folder, reopen = run()
    before = (folder / name).read_bytes()
    if data.draw(st.booleans()):
        now = damaged(data.draw, before)
    else:
        now = json.dumps(changed(data.draw, json.loads(before))).encode()
    (folder / name).write_bytes(now)
    try:
        reopened = reopen()
    except UserError:
        return
    if name == "study.json":  # nothing that decides a number has changed
        kept = {k: v for k, v in json.loads(now).items() if k not in ("preset", "file", "run")}
        assert agree(kept, json.loads(before))
    else:
        assert isinstance(reopened.environment["hardware"]["cpu"], str)
        assert isinstance(reopened.environment["wall_seconds"], dict)


def row() -> dict[str, Any]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    values = {"string": "x", "int32": 1, "int64": 1, "double": 0.5, "timestamp[ms, tz=UTC]": now}
    words = {"phase": "search", "slice": "asha", "outcome": "finished"}
    return {field.name: words.get(field.name, values[str(field.type)]) for field in SCHEMAS["ledger"]}


@fuzzed
@given(data=st.data())
def test_a_damaged_part_of_the_ledger_is_named(data: st.DataObject, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "tables", ignore_errors=True)
    tables = Tables(Storage(tmp_path))
    tables.append("ledger", [row() | {"trial_id": f"one-{i:04d}"} for i in range(20)])
    expected = tables.read("ledger")
    (part,) = (tmp_path / "tables" / "ledger").iterdir()
    part.write_bytes(damaged(data.draw, part.read_bytes()))
    try:
        found = tables.read("ledger")
    except UserError:
        with pytest.raises(UserError, match=part.name):
            tables.read("ledger")
    else:  # bits of the file that carry no values
        assert list(found.columns) == list(expected.columns)
        assert len(found) == len(expected)


@pytest.mark.parametrize(
    "columns",
    [
        {"trial_id": ["a"]},
        {"trial_id": [1], "arm": ["x"]},
        {name: pa.array(["x"]) for name in SCHEMAS["ledger"].names},
        {},
    ],
)
def test_a_part_of_another_table_is_refused(columns: dict[str, Any], tmp_path: Path) -> None:
    tables = Tables(Storage(tmp_path))
    tables.append("ledger", [row()])
    pq.write_table(pa.table(columns), tmp_path / "tables" / "ledger" / "part-000001-0123abcd.parquet")
    with pytest.raises(UserError, match="part-000001-0123abcd"):
        tables.read("ledger")


@fuzzed
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_the_one_before_taken(data: st.DataObject, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
    storage = Storage(tmp_path)
    made = [
        Checkpoint({"epoch": epoch}, {"w": torch.full((3,), float(epoch))}, {"m": torch.zeros(2)}) for epoch in (1, 2)
    ]
    for checkpoint in made:
        checkpoints.save_partial(storage, "one-0000", checkpoint)
    newest = tmp_path / "checkpoints" / "one-0000" / "partial" / "000002"
    file = newest / data.draw(st.sampled_from(sorted(path.name for path in newest.iterdir())))
    file.write_bytes(damaged(data.draw, file.read_bytes()))
    found = checkpoints.resume_point(storage, "one-0000")
    assert found is not None
    expected = made[found.config["epoch"] - 1]
    assert found.config == expected.config
    np.testing.assert_array_equal(found.weights["w"], expected.weights["w"])


FLAGS = [action.option_strings[-1] for action in cli._parser()._actions if action.option_strings]
WORDS = st.sampled_from(
    [
        *FLAGS,
        *PHASES,
        *("faults", "list", "smoke", "one,other", "seed=3", "=", "a=b=c", "", "-", "--", "-1", "NaN", "\0", "../.."),
        *("arms=", "arms=one", "budget.trials=0", "budget.trials=-1", "budget.trials=1e9", "replication.n=x"),
        *("model.beta=nan", "training.epochs=0", "dataset.name=nothing", "s3://", "s3://u:p@b", "ftp://x", __file__),
    ]
)


@settings(fuzzed, max_examples=200)
@given(arguments=st.lists(WORDS | st.text(max_size=6), max_size=6), known=st.booleans())
def test_the_command_line(
    arguments: list[str], known: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(*_: object) -> int:
        return 0

    monkeypatch.setattr(cli, "_plan", nothing)
    monkeypatch.setattr("vaetune.study.runner.run", nothing)
    given_ = [str(Path(__file__).with_name("faults.py"))] if known else []
    try:
        code = cli.main([*given_, *arguments])
    except SystemExit as end:  # --help
        code = end.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert code in (0, 2)
    if code:
        assert err.startswith("vaetune: ")
        assert "Traceback" not in out + err
