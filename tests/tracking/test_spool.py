from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vaetune.tracking.spool import Spool


def test_what_was_committed_is_not_read_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.append(["metrics", "t-1", [["loss", 0.1, 1, 5]]])
    spool.append(["end", "t-1", "finished", 6, {}])
    events, offset = spool.read()
    assert events == [["metrics", "t-1", [["loss", 0.1, 1, 5]]], ["end", "t-1", "finished", 6, {}]]
    spool.commit(offset)
    assert not spool.pending
    spool.append(["begin", "t-2"])
    assert Spool(tmp_path, "a").read()[0] == [["begin", "t-2"]]


def test_another_server_gets_everything(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.append(["x"])
    spool.commit(spool.read()[1])
    assert Spool(tmp_path, "b").read()[0] == [["x"]]


def test_small_reads_are_whole_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    sent: list[list[Any]] = [["x", "y" * 50], ["x", 2], ["x", 3]]
    for event in sent:
        spool.append(event)
    got = []
    while spool.pending:
        events, offset = spool.read(limit=10)
        assert events
        got += events
        spool.commit(offset)
    assert got == sent


@pytest.mark.parametrize("torn", [b'["metrics","t-1",[["lo', b"12\xff"])
def test_a_line_torn_by_a_kill_is_skipped(tmp_path: Path, torn: bytes) -> None:
    first = Spool(tmp_path, "a")
    first.append(["x", 1])
    with first.path.open("ab") as file:
        file.write(torn)
    spool = Spool(tmp_path, "a")
    spool.append(["x", 2])
    events, offset = spool.read()
    assert events == [["x", 1], ["x", 2]]
    spool.commit(offset)
    assert not spool.pending


def test_a_cursor_beyond_the_file_or_torn_is_harmless(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.append(["x", 1])
    spool.commit(spool.read()[1])
    (cursor,) = tmp_path.glob("*.cursor")
    spool.path.write_bytes(b"")
    assert Spool(tmp_path, "a").read() == ([], 0)
    cursor.write_text("")
    again = Spool(tmp_path, "a")
    again.append(["x", 2])
    assert again.read()[0] == [["x", 2]]


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "a")
    spool.append(["x"])
    spool.commit(spool.read()[1])
    spool.close(remove=True)
    assert list((tmp_path / "spool").iterdir()) == []


def test_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    values = [0.1 + 0.2, 1e-310, 1.7976931348623157e308, -0.0, float("inf")]
    spool.append(["metrics", "t", values])
    assert list(map(repr, spool.read()[0][0][2])) == list(map(repr, values))
