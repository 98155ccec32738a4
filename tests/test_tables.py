"""What goes into a table comes out of it; what does not belong in it is named."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.tables import SCHEMAS, Tables

NOON = datetime(2024, 5, 17, 12, 0, 0, 123_000, tzinfo=UTC)
VALUES: dict[pa.DataType, Any] = {
    pa.string(): "x",
    pa.bool_(): True,
    pa.int16(): 3,
    pa.int32(): 3,
    pa.int64(): 2**62,
    pa.float32(): 0.5,
    pa.float64(): 0.25,
    pa.timestamp("ms", "UTC"): NOON,
}
WORDS = {"phase": "search", "slice": "audit", "outcome": "finished", "evaluation": "mean"}


def row(table: str, **changes: Any) -> dict[str, Any]:
    """A valid row of a table, every column filled, with some values changed."""
    return {field.name: WORDS.get(field.name, VALUES[field.type]) for field in SCHEMAS[table]} | changes


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(Storage(tmp_path))


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_full_row_round_trips(tables: Tables, table: str) -> None:
    tables.append(table, [row(table)])
    frame = tables.read(table)
    assert list(frame.columns) == SCHEMAS[table].names
    assert frame.iloc[0].to_dict() == row(table)


@pytest.mark.parametrize("table", SCHEMAS)
def test_an_empty_table_has_the_columns_and_types_of_a_full_one(tables: Tables, table: str) -> None:
    tables.append(table, [])
    empty = tables.read(table)
    assert len(empty) == 0
    tables.append(table, [row(table)])
    assert dict(empty.dtypes) == dict(tables.read(table).dtypes)


@pytest.mark.parametrize("table", SCHEMAS)
def test_only_nullable_columns_may_be_missing(tables: Tables, table: str) -> None:
    for field in SCHEMAS[table]:
        short = row(table)
        del short[field.name]
        if field.nullable:
            tables.append(table, [short])
            assert pd.isna(tables.read(table)[field.name].iloc[-1])
        else:
            for bad in (short, row(table, **{field.name: None})):
                with pytest.raises(ValueError, match=f"{table}, column {field.name}: missing"):
                    tables.append(table, [row(table), bad])


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("ledger", "search", 1.0),
        ("ledger", "search", True),
        ("ledger", "search", "1"),
        ("ledger", "search", 2**31),
        ("ledger", "seed", 2**63),
        ("ledger", "arm", 1),
        ("ledger", "arm", b"svae"),
        ("ledger", "objective", "0.1"),
        ("ledger", "objective", False),
        ("ledger", "started", "2024-05-17"),
        ("ledger", "started", NOON.replace(tzinfo=None)),
        ("ledger", "phase", "serach"),
        ("ledger", "outcome", "diverged"),
        ("predictions", "correct", 1),
        ("predictions", "target", 40_000),
        ("predictions", "target", np.float64(1)),
        ("replicates", "test/error", "low"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_written(tables: Tables, table: str, column: str, value: Any) -> None:
    with pytest.raises(ValueError, match=column):
        tables.append(table, [row(table), row(table, **{column: value})])
    assert len(tables.read(table)) == 0


def test_unknown_tables_and_columns_get_a_hint(tables: Tables) -> None:
    with pytest.raises(UserError, match="did you mean 'ledger'"):
        tables.append("leger", [row("ledger")])
    with pytest.raises(UserError, match="unknown table"):
        tables.read("leger")
    with pytest.raises(UserError, match="'secs': did you mean"):
        tables.append("ledger", [row("ledger", secs=1.0)])
    with pytest.raises(UserError, match="'error'"):
        tables.append("replicates", [row("replicates", error=0.1)])
    with pytest.raises(UserError, match="'test/error'"):
        tables.append("ledger", [row("ledger", **{"test/error": 0.1})])


def test_metrics_of_replicates_may_differ_between_rows_and_parts(tables: Tables) -> None:
    tables.append("replicates", [row("replicates", **{"test/error": 0.1}), row("replicates", **{"val/error": 0.2})])
    tables.append("replicates", [row("replicates", **{"scale/snr": 3, "test/error": np.float32(0.5)})])
    frame = tables.read("replicates")
    assert list(frame.columns) == [*SCHEMAS["replicates"].names, "test/error", "val/error", "scale/snr"]
    expected = [[0.1, math.nan, math.nan], [math.nan, 0.2, math.nan], [0.5, math.nan, 3.0]]
    np.testing.assert_equal(frame[["test/error", "val/error", "scale/snr"]].to_numpy(), expected)
    assert (frame.dtypes.iloc[-3:] == np.float64).all() and frame["n_train"].dtype == np.int32


def test_parts_keep_the_order_of_appending(tables: Tables) -> None:
    for epoch in range(12):
        tables.append("history", [row("history", epoch=epoch, metric=m) for m in ("b", "a")])
    frame = tables.read("history")
    assert list(zip(frame["epoch"], frame["metric"], strict=True)) == [(e, m) for e in range(12) for m in ("b", "a")]
    assert list(frame.index) == list(range(24))


def test_a_part_is_never_changed(tables: Tables, tmp_path: Path) -> None:
    tables.append("runs", [row("runs")])
    (part,) = os.listdir(tmp_path / "tables/runs")
    before = (tmp_path / "tables/runs" / part).read_bytes()
    pickle.loads(pickle.dumps(tables)).append("runs", [row("runs")])
    assert (tmp_path / "tables/runs" / part).read_bytes() == before
    first, second = sorted(os.listdir(tmp_path / "tables/runs"))
    assert first == part and part.startswith("part-000000-") and second.startswith("part-000001-")


def test_times_are_converted_to_utc(tables: Tables) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-7)))
    tables.append("history", [row("history", time=elsewhere), row("history", time=pd.Timestamp(elsewhere))])
    assert [str(t) for t in tables.read("history")["time"]] == ["2024-05-17 12:00:00.123000+00:00"] * 2


def test_a_damaged_part_is_named(tables: Tables, tmp_path: Path) -> None:
    tables.append("runs", [row("runs")])
    (part,) = (tmp_path / "tables/runs").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(UserError, match=part.name):
        tables.read("runs")


def test_what_is_not_a_part_is_not_read(tables: Tables, tmp_path: Path) -> None:
    tables.append("runs", [row("runs")])
    (tmp_path / "tables/runs/.part-000001-00000000.parquet.12345678.aside").write_bytes(b"PAR1")
    (tmp_path / "tables/runs/notes.txt").write_text("mine")
    assert len(tables.read("runs")) == 1


WRITER = """
import os, sys
from datetime import UTC, datetime
from vaetune.storage import Storage
from vaetune.tables import Tables
row = {"member_id": sys.argv[2], "metric": "val/error", "value": 0.1, "time": datetime.now(UTC)}
epoch = 0
while not os.path.exists(sys.argv[1] + "/stop"):
    Tables(Storage(sys.argv[1])).append("history", [row | {"epoch": epoch}] * 3)
    epoch += 1
print(epoch)
"""


def test_readers_see_whole_parts_while_others_append(tables: Tables, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    seen: list[int] = []
    while len(set(seen)) < 6 and all(writer.poll() is None for writer in writers):
        seen.append(len(tables.read("history")))
    (tmp_path / "stop").touch()
    written = {name: int(writer.communicate()[0]) for name, writer in zip("ab", writers, strict=True)}
    assert seen == sorted(seen) and all(n % 3 == 0 for n in seen)
    counts = tables.read("history").groupby(["member_id", "epoch"]).size()
    assert len(counts) == sum(written.values()) > 0 and (counts == 3).all()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
history = st.fixed_dictionaries(
    {
        "member_id": text,
        "epoch": st.integers(-(2**31), 2**31 - 1),
        "metric": text,
        "value": st.none() | st.floats(),
        "time": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    }
)


@settings(deadline=None, max_examples=40)
@given(parts=st.lists(st.lists(history, max_size=4), max_size=4))
def test_any_rows_round_trip(tmp_path_factory: pytest.TempPathFactory, parts: list[list[dict[str, Any]]]) -> None:
    tables = Tables(Storage(tmp_path_factory.mktemp("tables")))
    for rows in parts:
        tables.append("history", rows)
    back = tables.read("history").to_dict("records")
    for want, got in zip([r for rows in parts for r in rows], back, strict=True):
        value = math.nan if want["value"] is None else want["value"]
        np.testing.assert_equal(got["value"], value)
        assert timedelta(0) <= want["time"] - got["time"] < timedelta(milliseconds=1)
        assert [got[k] for k in ("member_id", "epoch", "metric")] == [want[k] for k in ("member_id", "epoch", "metric")]
