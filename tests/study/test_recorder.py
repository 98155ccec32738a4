from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetune.config import Configuration
from vaetune.storage import Storage
from vaetune.study import Arm, DatasetConfig, Objective, Study, SupervisedVAEConfig, TrainingConfig, members
from vaetune.study.console import Console
from vaetune.study.recorder import Entry, Recorder
from vaetune.tables import Tables
from vaetune.tracking import Tracker

ARM = Arm(name="svae", summary="")
STUDY = Study(name="s", hypothesis="h", arms=(ARM,))
ANY = Configuration(model=SupervisedVAEConfig(), training=TrainingConfig(epochs=9), dataset=DatasetConfig())
MEMBER = members.searched(STUDY, 0, ARM, 0, 0, ANY)
ID = MEMBER.id


class Ears:
    """Stands for the tracker and for the console: remembers what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.values: list[tuple[str, str, float, int, int]] = []
        self.ended: list[tuple[str, str]] = []
        self.advanced: list[tuple[str, int]] = []
        self.shown: list[tuple[str, str, float | None]] = []

    def begin(self, id: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any], time_ms: int) -> None:
        self.begun.append((id, dict(tags), dict(params)))

    def metrics(self, id: str, rows: Sequence[tuple[str, float, int, int]]) -> None:
        self.values += [(id, *row) for row in rows]

    def end(self, id: str, outcome: str, time_ms: int) -> None:
        self.ended.append((id, outcome))

    def advance(self, arm: str, epochs: int) -> None:
        self.advanced.append((arm, epochs))

    def finished(self, arm: str, outcome: str, objective: float | None) -> None:
        self.shown.append((arm, outcome, objective))


def open_recorder(storage: Storage, ears: Ears | None = None) -> Recorder:
    ears = ears or Ears()
    return Recorder(Tables(storage), cast(Tracker, ears), cast(Console, ears), Objective())


def told(first: int, last: int, shift: float = 0.0) -> list[dict[str, Any]]:
    """What a worker tells of the epochs first … last."""
    return [
        {
            "epoch": e,
            "time": 1_700_000_000_000 + e,
            "metrics": {"val/error": 1 / e + shift, "val/nll_scaled": 2.0 / e, "train/loss": 3.0 / e},
        }
        for e in range(first, last + 1)
    ]


def entry(phase: str = "search", number: int = 0) -> Entry:
    member = replace(MEMBER, id=members.trial_id(STUDY, ARM, 0, number))
    return Entry(member, phase, member.id, "audit", 0, number, {"rate": 0.1})


def written(storage: Storage, metric: str = "val/error", id: str = ID) -> list[tuple[int, float]]:
    frame = Tables(storage).read("history")
    mine = frame[(frame["metric"] == metric) & (frame["member_id"] == id)]
    return [(int(e), float(v)) for e, v in zip(mine["epoch"], mine["value"], strict=True)]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def test_a_queued_member_s_clocks_start_when_it_begins(storage: Storage) -> None:
    recorder, queued = open_recorder(storage), entry()
    wall, monotonic = time.time_ns() // 1_000_000, time.monotonic()
    recorder.begin(queued)
    assert queued.began >= monotonic
    recorder.epochs(ID, told(1, 1))
    recorder.end(ID, "finished", "", 1.5, "cpu")
    recorder.flush()
    (row,) = Tables(storage).read("ledger").to_dict("records")
    assert row["started"].timestamp() * 1000 >= wall - 1


def test_epochs_and_the_end_arrive_everywhere(storage: Storage) -> None:
    ears = Ears()
    recorder = open_recorder(storage, ears)
    recorder.begin(entry())
    recorder.epochs(ID, told(1, 2))
    recorder.epochs(ID, told(3, 3))
    ended = recorder.end(ID, "finished", "", 1.5, "cpu")
    recorder.flush()
    assert (ended.epoch, ended.metrics["val/error"]) == (3, 1 / 3)
    assert written(storage) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert len(Tables(storage).read("history")) == 9
    (row,) = Tables(storage).read("ledger").to_dict("records")
    assert row["objective"] == 1 / 3
    assert row["tie"] == 2 / 3
    expected = {
        "trial_id": "svae-0000",
        "arm": "svae",
        "phase": "search",
        "slice": "audit",
        "search": 0,
        "number": 0,
        "params": '{"rate": 0.1}',
        "seed": MEMBER.seeds.initial,
        "group_id": "svae-0000",
        "outcome": "finished",
        "reason": "",
        "epochs": 3,
        "length": 9,
        "seconds": 1.5,
        "device": "cpu",
    }
    assert {key: row[key] for key in expected} == expected
    assert row["started"] <= row["ended"]
    assert '"epochs":9' in row["config"]
    ((id, tags, params),) = ears.begun
    assert (id, tags["vaetune.kind"], tags["vaetune.slice"], tags["vaetune.arm"]) == (ID, "trial", "audit", "svae")
    assert (params["arm"], params["training.epochs"]) == ("svae", 9)
    assert [(name, value, epoch) for _, name, value, epoch, _ in ears.values if name == "val/error"] == [
        ("val/error", 1.0, 1),
        ("val/error", 0.5, 2),
        ("val/error", 1 / 3, 3),
    ]
    assert ears.values[0][4] == 1_700_000_000_001
    assert ears.ended == [(ID, "finished")]
    assert ears.advanced == [("svae", 2), ("svae", 1)]
    assert ears.shown == [("svae", "finished", 1 / 3)]


def test_replicates_are_told_apart_from_trials(storage: Storage) -> None:
    ears = Ears()
    recorder = open_recorder(storage, ears)
    for phase in ("select", "replicate"):
        recorder.begin(entry(phase))
    assert [tags["vaetune.kind"] for _, tags, _ in ears.begun] == ["trial", "replicate"]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_epoch_is_written_once_however_often_it_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Workers are replaced and drivers start again, at any point, and tell again from any earlier epoch on."""
    storage, ears = Storage(tmp_path_factory.mktemp("run")), Ears()
    recorder = open_recorder(storage, ears)
    recorder.begin(entry())
    known = 0
    seen: list[int] = []
    while known < 6:
        match data.draw(st.sampled_from(["go on", "worker replaced", "driver replaced", "flush"])):
            case "flush":
                recorder.flush()
            case "driver replaced":
                recorder = open_recorder(storage, ears)
                recorder.begin(entry())
                known, seen = 0, []
            case what:
                first = known + 1 if what == "go on" else data.draw(st.integers(1, known + 1))
                last = data.draw(st.integers(first, 6))
                news = recorder.epochs(ID, told(first if known else 1, last))
                seen += [e["epoch"] for e in news]
                known = max(known, last)
    recorder.end(ID, "finished", "", 0.0, "cpu")
    recorder.flush()
    assert seen == [1, 2, 3, 4, 5, 6], "this driver learns every epoch, once"
    for metric in ("val/error", "train/loss"):
        assert [epoch for epoch, _ in written(storage, metric)] == [1, 2, 3, 4, 5, 6]
    assert len(Tables(storage).read("ledger")) == 1


def test_an_earlier_run_s_epochs_are_news_to_this_driver_but_not_to_the_tables(storage: Storage) -> None:
    first = open_recorder(storage)
    first.begin(entry())
    first.epochs(ID, told(1, 4))
    first.flush()
    ears = Ears()
    recorder = open_recorder(storage, ears)
    recorder.begin(entry())
    assert [e["epoch"] for e in recorder.epochs(ID, told(1, 5))] == [1, 2, 3, 4, 5]
    recorder.flush()
    assert [epoch for epoch, _ in written(storage)] == [1, 2, 3, 4, 5]
    assert {epoch for _, _, _, epoch, _ in ears.values} == {1, 2, 3, 4, 5}, "the tracker may lack what the tables have"


def test_a_member_that_begins_anew_with_other_numbers_overwrites_the_old_ones(storage: Storage) -> None:
    """As a trial does that is suggested again, with other parameters, after the driver died: the last row counts."""
    first = open_recorder(storage)
    first.begin(entry())
    first.epochs(ID, told(1, 3))
    first.flush()
    for shift in (0.5, 0.0):
        recorder = open_recorder(storage)
        recorder.begin(entry())
        recorder.epochs(ID, told(1, 2, shift))
        recorder.flush()
    frame = Tables(storage).read("history").drop_duplicates(["member_id", "epoch", "metric"], keep="last")
    errors = frame[frame["metric"] == "val/error"].set_index("epoch")["value"]
    assert errors.to_dict() == {1: 1.0, 2: 0.5, 3: 1 / 3}
    assert len(written(storage, "train/loss")) == 3, "what is equal is not written again"


def test_what_is_not_a_number_is_written_once_too(storage: Storage) -> None:
    diverged = [{"epoch": 1, "time": 1, "metrics": {"val/error": math.nan, "train/loss": math.inf}}]
    for _ in range(2):
        recorder = open_recorder(storage)
        recorder.begin(entry())
        recorder.epochs(ID, diverged)
        recorder.flush()
    (value,) = written(storage)
    assert math.isnan(value[1])
    assert written(storage, "train/loss") == [(1, math.inf)]


@pytest.mark.parametrize(("outcome", "scored"), [("finished", True), ("stopped", True), ("failed", False)])
def test_a_failed_member_has_no_score(outcome: str, scored: bool, storage: Storage) -> None:
    ears = Ears()
    recorder = open_recorder(storage, ears)
    recorder.begin(entry())
    recorder.epochs(ID, told(1, 2))
    recorder.end(ID, outcome, "why", 0.0, "cpu")
    recorder.flush()
    (row,) = Tables(storage).read("ledger").to_dict("records")
    assert (row["objective"] == 0.5, row["tie"] == 1.0) == (scored, scored)
    assert math.isnan(row["objective"]) is not scored
    assert (row["outcome"], row["reason"], row["epochs"]) == (outcome, "why", 2)
    assert ears.shown == [("svae", outcome, 0.5 if scored else None)]


def test_a_member_that_never_had_an_epoch_fails_too(storage: Storage) -> None:
    recorder = open_recorder(storage)
    recorder.begin(entry())
    recorder.end(ID, "failed", "lost", 0.0, "")
    recorder.flush()
    (row,) = Tables(storage).read("ledger").to_dict("records")
    assert (row["epochs"], row["outcome"]) == (0, "failed")


def test_the_ledger_at_hand_is_the_one_that_will_be_written(storage: Storage) -> None:
    recorder = open_recorder(storage)
    assert recorder.ledger().empty
    for number, outcome in enumerate(["failed", "finished", "failed", "stopped"]):
        recorder.begin(entry(number=number))
        recorder.epochs(members.trial_id(STUDY, ARM, 0, number), told(1, number + 1))
        recorder.end(members.trial_id(STUDY, ARM, 0, number), outcome, "", 0.0, "cpu")
        ledger = recorder.ledger()
        assert ledger["outcome"].tolist()[-1] == outcome
        assert len(ledger) == number + 1
        assert ledger["objective"].dtype == ledger["tie"].dtype == float
    recorder.flush()
    again = open_recorder(storage).ledger()
    assert again["trial_id"].tolist() == recorder.ledger()["trial_id"].tolist()
    assert again["objective"].fillna(-1).tolist() == recorder.ledger()["objective"].fillna(-1).tolist()


class Failing(Tables):
    """Refuses to write one table, as a full disk does."""

    refused = ""

    def append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows and table == self.refused:
            raise OSError("no space left on device")
        super().append(table, rows)


def test_history_is_written_before_the_ledger_and_neither_twice(storage: Storage) -> None:
    """A ledger row says that a history is whole; the runner flushes once more when a flush has failed."""
    tables, ears = Failing(storage), Ears()
    recorder = Recorder(tables, cast(Tracker, ears), cast(Console, ears), Objective())
    recorder.begin(entry())
    recorder.epochs(ID, told(1, 2))
    recorder.end(ID, "finished", "", 0.0, "cpu")
    for refused, there in (("history", (0, 0)), ("ledger", (6, 0)), ("", (6, 1)), ("", (6, 1))):
        tables.refused = refused
        if refused:
            with pytest.raises(OSError, match="no space"):
                recorder.flush()
        else:
            recorder.flush()
        assert (len(tables.read("history")), len(tables.read("ledger"))) == there


def test_parts_are_written_every_few_seconds(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("vaetune.study.recorder.time.monotonic", lambda: clock[0])
    recorder = open_recorder(storage)
    recorder.begin(entry())
    for epoch, (now, there) in enumerate([(101.0, 0), (102.5, 2), (103.0, 2), (104.0, 2), (105.0, 5)], 1):
        clock[0] = now
        recorder.epochs(ID, told(epoch, epoch))
        assert len(written(storage)) == there, now


def test_who_lost_its_weights_is_trained_again_and_recorded_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    first = open_recorder(storage)
    first.begin(Entry(MEMBER, "replicate", ID))
    first.epochs(ID, told(1, 3))
    first.end(ID, "finished", "", 1.0, "cpu")
    first.flush()
    again = open_recorder(storage)
    again.forget([ID])
    assert again.ledger().empty
    again.begin(Entry(MEMBER, "replicate", ID))
    again.epochs(ID, told(1, 3))
    again.end(ID, "finished", "", 1.0, "cpu")
    again.flush()
    assert again.ledger()["trial_id"].to_list() == [ID]
    assert Tables(storage).read("ledger")["trial_id"].to_list() == [ID]
