"""TensorBoard's event files, read back by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from vaetune.study.board import Board

MS = 1_700_000_000_000


def test_every_value_of_every_member_is_a_scalar(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = Board(tmp_path)
    for epoch in (1, 2):
        for id in ("svae-0001", "svae-rep00"):
            board.metrics(id, [("val/error", 0.5**epoch, epoch, MS + epoch), ("train/loss", 2.0, epoch, MS)])
    for id in ("svae-0001", "svae-rep00", "who never had an epoch"):
        board.end(id)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["svae-0001", "svae-rep00"]
    for folder in tmp_path.iterdir():
        events = accumulator.EventAccumulator(str(folder))
        events.Reload()
        assert sorted(events.Tags()["scalars"]) == ["train/loss", "val/error"]
        found = [(e.step, e.value, e.wall_time) for e in events.Scalars("val/error")]
        assert found == [(1, 0.5, MS / 1000 + 0.001), (2, 0.25, MS / 1000 + 0.002)]


def test_nothing_is_written_unless_it_is_asked_for() -> None:
    board = Board(None)
    board.metrics("svae-0001", [("val/error", 0.5, 1, MS)])
    board.end("svae-0001")
