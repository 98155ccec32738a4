"""Phases on a cluster that is played: workers report when they like, die and are replaced, the driver is killed."""

from __future__ import annotations

import hashlib
import io
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from vaetune.config import Configuration
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Arm, Budget, DatasetConfig, Replication, Study, SupervisedVAEConfig, TrainingConfig, members
from vaetune.study.console import Console
from vaetune.study.members import GroupSpec
from vaetune.study.phases import QueuePhase, SearchPhase, TooManyFailures, pack
from vaetune.study.pipeline import Pipeline
from vaetune.study.recorder import Entry, Recorder
from vaetune.study.search import Search
from vaetune.study.select import candidates
from vaetune.study.tuning import Phase
from vaetune.tables import Tables
from vaetune.tracking import Tracker
from vaetune.training.choice import USUAL, Choice
from vaetune.training.seeds import Member

METRIC, TIE = "val/error", "val/nll_scaled"
VOLATILE = ["started", "ended", "seconds"]


def shared(trial: Any) -> dict[str, Any]:
    return {
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "training.epochs": trial.suggest_categorical("epochs", [5, 9]),
    }


PLAIN, SVAE = Arm(name="plain", summary=""), Arm(name="svae", summary="", overrides={"model.bottleneck": "gaussian"})
STUDY = Study(
    name="demo",
    hypothesis="",
    arms=(PLAIN, SVAE),
    space=shared,
    budget=Budget(trials=9, audit=3, grace=2, reduction=2, top_k=2, max_failures=0.9),
    replication=Replication(n=3),
)
ANY = Configuration(model=SupervisedVAEConfig(), training=TrainingConfig(epochs=3), dataset=DatasetConfig())


def fake(member: Member, epoch: int) -> dict[str, float]:
    """Scores that are a function of the configuration, the seeds and the epoch; some rates diverge at epoch 4."""
    rate = member.configuration.training.learning_rate
    if diverges(member) and epoch == 4:
        return {METRIC: math.nan, TIE: math.nan}
    noise = int.from_bytes(hashlib.sha256(f"{member.seeds.noise}/{epoch}".encode()).digest()[:2], "big") / 2**16
    value = abs(math.log10(rate) + 2.5) / 5 + 1 / epoch + noise / 10
    return {METRIC: round(value, 1), TIE: value}


def diverges(member: Member) -> bool:
    return 2e-2 < member.configuration.training.learning_rate < 5e-2


@dataclass
class Worker:
    """Trains the members of a group side by side; `rng` says how far until it reports, and where a successor begins."""

    spec: GroupSpec
    storage: Storage
    rng: random.Random
    epoch: int = 0
    emitted: int = 0

    def step(self) -> list[dict[str, Any]]:
        """The rows of the epochs up to the next rung, the end, or any epoch before."""
        ahead = [e for e in (*self.spec.rungs, self._length) if e > self.epoch]
        self.epoch = self.rng.randint(self.epoch + 1, ahead[0]) if ahead else self.epoch
        rows = [self._row(member) for member in self.spec.members]
        self.emitted = self.epoch
        return rows

    def replaced(self) -> None:
        """Another worker takes over from some earlier epoch, and tells everything again."""
        self.epoch, self.emitted = self.rng.randint(0, self.epoch), 0

    @property
    def _length(self) -> int:
        return self.spec.members[0].configuration.training.epochs

    def _row(self, member: Member) -> dict[str, Any]:
        last = 4 if diverges(member) and self.epoch >= 4 else self.epoch
        outcome = "failed" if last < self.epoch or (diverges(member) and last == 4) else ""
        if not outcome and last == self._length:
            outcome = "finished"
            self.storage.write(f"checkpoints/{member.id}/weights", b"")
        epochs = [{"epoch": e, "time": e, "metrics": fake(member, e)} for e in range(self.emitted + 1, last + 1)]
        reason = f"diverged at epoch {last}" if outcome == "failed" else ""
        return {"id": member.id, "epochs": epochs, "outcome": outcome, "reason": reason, "seconds": float(last)}


@dataclass
class Cluster:
    """Runs a phase as Tune does, `slots` groups at a time, in an order that `rng` chooses."""

    phase: Phase
    storage: Storage
    rng: random.Random
    slots: int = 4
    unrest: float = 0.0
    workers: dict[str, Worker] = field(default_factory=dict)

    def step(self) -> bool:
        """One event; False when everything is done."""
        while len(self.workers) < self.slots and not self.phase.exhausted and (spec := self.phase.next()) is not None:
            self.workers[spec.id] = Worker(spec, self.storage, self.rng)
        if not self.workers:
            return False
        worker = self.rng.choice(list(self.workers.values()))
        if self.rng.random() < self.unrest:
            worker.replaced()
        if not self.phase.result(worker.spec, worker.step(), "cpu"):
            del self.workers[worker.spec.id]
        return True

    def run(self, steps: int = 10**6) -> None:
        """Events until all is done, or that many."""
        while steps and self.step():
            steps -= 1


def open_recorder(storage: Storage) -> Recorder:
    tracker = Tracker(None, spool=Path("unused"), experiment="e", run="r", say=print)
    return Recorder(Tables(storage), tracker, Console(["plain", "svae"], stream=io.StringIO()), STUDY.objective)


def open_search(study: Study, storage: Storage, parallel: int = 1) -> tuple[SearchPhase, Search, Recorder]:
    """The phase as a fresh or a resumed execution opens it."""
    recorder, search = open_recorder(storage), Search(study, 0, parallel)
    ledger = recorder.ledger()
    search.replay(ledger, Tables(storage).read("history"))
    phase = SearchPhase(study, search, recorder, storage, 0)
    phase.replay(ledger)
    return phase, search, recorder


def searched(storage: Storage, rng: random.Random, unrest: float = 0.0, kills: Sequence[int] = ()) -> None:
    """A whole search; the driver is killed after each number of events in `kills`."""
    for steps in (*kills, 10**6):
        phase, _, recorder = open_search(STUDY, storage)
        Cluster(phase, storage, rng, unrest=unrest).run(steps)
    recorder.flush()


def tables(storage: Storage) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ledger and history, without what differs from run to run."""
    ledger = Tables(storage).read("ledger").drop(columns=VOLATILE).sort_values("trial_id", ignore_index=True)
    order = ["member_id", "epoch", "metric"]
    return ledger, Tables(storage).read("history").sort_values(order, ignore_index=True)


@pytest.fixture(scope="module", autouse=True)
def _quick_disk() -> Iterator[None]:
    """What is written here need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.storage.os.fsync", lambda handle: None)
        yield


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    storage = Storage(tmp_path_factory.mktemp("undisturbed"))
    searched(storage, random.Random(0))
    return storage


def test_search_ends_every_trial_with_the_right_outcome(undisturbed: Storage) -> None:
    ledger, history = tables(undisturbed)
    assert ledger["trial_id"].tolist() == [f"{arm}-{n:04d}" for arm in ("plain", "svae") for n in range(9)]
    assert set(ledger["outcome"]) == {"finished", "stopped", "failed"}
    for row in ledger.to_dict("records"):
        mine = history[history["member_id"] == row["trial_id"]]
        assert sorted(set(mine["epoch"])) == list(range(1, row["epochs"] + 1))
        last = mine[mine["epoch"] == row["epochs"]].set_index("metric")["value"]
        match row["outcome"]:
            case "finished":
                assert row["epochs"] == row["length"]
                assert (row["objective"], row["tie"], row["reason"]) == (last[METRIC], last[TIE], "")
            case "stopped":
                assert row["slice"] == "asha"
                assert row["reason"] == f"not among the best at epoch {row['epochs']}"
                assert row["objective"] == last[METRIC]
            case "failed":
                assert (row["epochs"], row["reason"]) == (4, "diverged at epoch 4"), (
                    "at a rung, and failed all the same"
                )
                assert math.isnan(row["objective"])
    assert set(ledger[ledger["slice"] == "audit"]["outcome"]) <= {"finished", "failed"}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), kills=st.lists(st.integers(0, 50), max_size=2), flush=st.sampled_from([-1.0, 1e9]))
def test_a_search_disturbed_in_any_way_leaves_the_same_tables(
    seed: int, kills: list[int], flush: float, tmp_path_factory: pytest.TempPathFactory, undisturbed: Storage
) -> None:
    """Results in any order, workers replaced half the time, the driver killed with all or nothing written."""
    storage = Storage(tmp_path_factory.mktemp("disturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.study.recorder.FLUSH_EVERY", flush)
        searched(storage, random.Random(seed), unrest=0.5, kills=kills)
    for found, expected in zip(tables(storage), tables(undisturbed), strict=True):
        pd.testing.assert_frame_equal(
            found.drop(columns="time", errors="ignore"), expected.drop(columns="time", errors="ignore")
        )
    assert storage.list("checkpoints") == undisturbed.list("checkpoints")


def test_the_weights_of_each_arm_s_best_are_kept_and_no_others(undisturbed: Storage) -> None:
    best = [c.trial_id for c in candidates(Tables(undisturbed).read("ledger"), STUDY)]
    assert len(best) == 2 * len(STUDY.arms)
    assert undisturbed.list("checkpoints") == sorted(best)


def first(phase: Phase) -> GroupSpec:
    spec = phase.next()
    assert spec is not None
    return spec


def told(spec: GroupSpec, last: int, value: float, outcome: str = "", begin: int = 1) -> list[dict[str, Any]]:
    """A row of the group's only member: epochs begin … last, all of one score."""
    epochs = [{"epoch": e, "time": e, "metrics": {METRIC: value, TIE: value}} for e in range(begin, last + 1)]
    return [{"id": spec.members[0].id, "epochs": epochs, "outcome": outcome, "reason": "", "seconds": 1.0}]


def no_audit(**budget: Any) -> Study:
    return replace(STUDY, arms=(PLAIN,), budget=replace(STUDY.budget, audit=0, **budget))


def test_a_group_of_search_is_one_trial_with_its_rungs(storage: Storage) -> None:
    phase, search, recorder = open_search(STUDY, storage)
    spec = first(phase)
    (member,) = spec.members
    assert (spec.id, spec.phase, member.id, member.arm) == ("plain-0000", "search", "plain-0000", "plain")
    assert spec.rungs == tuple(search.arms[0].rungs.levels(member.configuration.training.epochs))
    assert member == members.searched(STUDY, 0, PLAIN, 0, 0, member.configuration)
    entry = recorder.open["plain-0000"]
    assert (entry.slice, entry.phase, entry.group_id) == ("audit", "search", "plain-0000")
    assert entry.params["learning_rate"] == member.configuration.training.learning_rate
    assert [first(phase).id, phase.next()] == ["svae-0000", None]
    assert not phase.exhausted


def test_who_ends_at_a_rung_by_itself_has_finished(storage: Storage) -> None:
    """As a member does that stops early on validation: its last epoch is its result, not a rung."""
    phase, search, recorder = open_search(no_audit(), storage, parallel=2)
    good, bad = first(phase), first(phase)
    assert phase.result(good, told(good, 2, 0.1), "cpu")
    assert not phase.result(bad, told(bad, 2, 0.9, "finished"), "cpu")
    ledger = recorder.ledger()
    assert ledger[["outcome", "epochs", "objective"]].to_numpy().tolist() == [["finished", 2, 0.9]]
    assert [t.state for t in search.arms[0].optuna.trials] == [TrialState.RUNNING, TrialState.COMPLETE]


def test_a_trial_that_reports_past_a_rung_is_stopped_by_the_rung(storage: Storage) -> None:
    """A worker that was replaced tells several rungs at once; all of them count, the first says why."""
    phase, search, recorder = open_search(no_audit(), storage, parallel=2)
    good, bad = first(phase), first(phase)
    assert phase.result(good, told(good, 4, 0.1), "cpu")
    assert not phase.result(bad, told(bad, 4, 0.9), "cpu")
    (row,) = recorder.ledger().to_dict("records")
    assert (row["outcome"], row["reason"], row["epochs"]) == ("stopped", "not among the best at epoch 2", 4)
    assert {level: set(scores) for level, scores in search.arms[0].rungs.scores.items()} == {
        2: {"0", "1"},
        4: {"0", "1"},
    }


def test_a_rung_told_twice_judges_once(storage: Storage) -> None:
    phase, search, _ = open_search(no_audit(), storage)
    spec = first(phase)
    for _ in range(3):
        assert phase.result(spec, told(spec, 2, 0.5), "cpu")
    assert phase.result(spec, told(spec, 3, 0.5), "cpu")
    assert len(search.arms[0].rungs.scores[2]) == 1
    assert search.arms[0].optuna.trials[0].intermediate_values == {2: 0.5}


def test_a_lost_group_has_failed_and_leaves_no_weights(storage: Storage) -> None:
    phase, search, recorder = open_search(STUDY, storage)
    spec = first(phase)
    phase.result(spec, told(spec, 2, 0.5), "cpu")
    storage.write(f"checkpoints/{spec.id}/partial/000002/weights", b"")
    recorder.open[spec.id].began -= 100.0
    phase.lost(spec, "worker lost: the actor died")
    (row,) = recorder.ledger().to_dict("records")
    assert 100.0 <= row["seconds"] < 160.0, "what it had a worker for"
    assert (row["outcome"], row["reason"], row["epochs"]) == ("failed", "worker lost: the actor died", 2)
    assert search.arms[0].optuna.trials[0].state == TrialState.FAIL
    assert storage.list("checkpoints") == []
    first(phase)  # svae
    assert first(phase).id == "plain-0001", "it is not drawn again"


@pytest.mark.parametrize("missing", [METRIC, TIE])
def test_a_result_without_the_metric_is_an_error(missing: str, storage: Storage) -> None:
    phase, _, _ = open_search(STUDY, storage)
    spec = first(phase)
    rows = told(spec, 2, 0.5)
    for epoch in rows[0]["epochs"]:
        del epoch["metrics"][missing]
    with pytest.raises(ValueError, match=f"without {missing}"):
        phase.result(spec, rows, "cpu")


def fail(phase: SearchPhase, outcomes: str) -> None:
    """Runs trials one after the other: f fails, any other letter finishes."""
    for outcome in outcomes:
        spec = first(phase)
        row = told(spec, 0, 0.0, "failed") if outcome == "f" else told(spec, 1, 0.5, "finished")
        row[0]["reason"] = "Traceback:\n  …\nValueError: no such layer\n"
        phase.result(spec, row, "cpu")


@pytest.mark.parametrize(("outcomes", "share"), [("ffff", 0.5), ("fofof", 0.5), ("ooof", 0.2), ("ooooooof", 0.1)])
def test_an_arm_that_fails_too_often_stops_the_study(outcomes: str, share: float, storage: Storage) -> None:
    phase, _, _ = open_search(no_audit(max_failures=share), storage)
    fail(phase, outcomes[:-1])
    with pytest.raises(TooManyFailures) as caught:
        fail(phase, outcomes[-1])
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    failed = outcomes.count("f")
    assert message.startswith(
        f"arm 'plain': {failed} of {len(outcomes)} trials failed, more than the share of {share:g}"
    )
    assert message.endswith("the last: ValueError: no such layer")
    assert len(Tables(storage).read("ledger")) == len(outcomes), "what is known is written before"


@pytest.mark.parametrize(("outcomes", "share"), [("fff", 0.5), ("ffoo", 0.5), ("ooofooof", 0.25), ("fffffffff", 1.0)])
def test_an_arm_may_fail_its_share(outcomes: str, share: float, storage: Storage) -> None:
    fail(open_search(no_audit(max_failures=share), storage)[0], outcomes)


def test_a_budget_of_two_trials_is_judged_after_two(storage: Storage) -> None:
    phase, _, _ = open_search(no_audit(trials=2), storage)
    fail(phase, "f")
    with pytest.raises(TooManyFailures):
        fail(phase, "f")


def test_failures_of_an_earlier_driver_count_but_stop_nobody_who_succeeds(storage: Storage) -> None:
    study = no_audit(max_failures=0.5)
    phase, _, recorder = open_search(study, storage)
    fail(phase, "fff")
    recorder.flush()
    phase, _, _ = open_search(study, storage)
    fail(phase, "o")
    with pytest.raises(TooManyFailures, match="arm 'plain': 4 of 5"):
        fail(phase, "f")


def test_failures_are_counted_by_arm(storage: Storage) -> None:
    phase, _, _ = open_search(replace(STUDY, budget=replace(STUDY.budget, max_failures=0.5)), storage)
    with pytest.raises(TooManyFailures, match="arm 'svae': 4 of 4"):
        fail(phase, "ofofofof")


def entries(phase: str, *configurations: Configuration, arm: Arm = PLAIN, n: int = 3) -> list[Entry]:
    study = replace(STUDY, replication=Replication(n=n))
    return [
        Entry(replace(member, id=f"{member.id}-{i}"), phase, "", number=number)
        for i, configuration in enumerate(configurations)
        for number, member in enumerate(members.replicates(study, 0, arm, [configuration]))
    ]


def queue(storage: Storage, *waiting: Entry, size: int = 5) -> tuple[QueuePhase, Recorder]:
    recorder = open_recorder(storage)
    return QueuePhase(pack(waiting, lambda _: None, size), recorder), recorder


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 4), slots=st.integers(1, 3))
def test_a_queue_ends_every_member_once_with_its_scores(
    seed: int, size: int, slots: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = Storage(tmp_path_factory.mktemp("queue"))
    diverging = replace(ANY, training=TrainingConfig(epochs=6, learning_rate=3e-2))
    waiting = [*entries("replicate", ANY, diverging), *entries("replicate", ANY, arm=SVAE, n=2)]
    phase, recorder = queue(storage, *waiting, size=size)
    Cluster(phase, storage, random.Random(seed), slots, unrest=0.5).run()
    recorder.flush()
    assert phase.exhausted
    ledger = Tables(storage).read("ledger").set_index("trial_id")
    assert sorted(ledger.index) == sorted(entry.member.id for entry in waiting)
    for entry in waiting:
        row, member = ledger.loc[entry.member.id], entry.member
        assert row["outcome"] == ("failed" if diverges(member) else "finished")
        assert row["epochs"] == (4 if diverges(member) else 3)
        assert diverges(member) or row["objective"] == fake(member, 3)[METRIC]
        assert (row["number"], row["group_id"], row["phase"]) == (entry.number, entry.group_id, "replicate")
    history = Tables(storage).read("history")
    assert not history.duplicated(["member_id", "epoch", "metric"]).any()


def test_a_queue_begins_members_when_their_group_starts(storage: Storage) -> None:
    phase, recorder = queue(storage, *entries("select", ANY), size=2)
    assert not recorder.open
    spec = first(phase)
    assert sorted(recorder.open) == sorted(m.id for m in spec.members)
    assert len(spec.members) == 2
    first(phase)
    exhausted = [phase.exhausted]
    phase.add(pack(entries("replicate", ANY, n=1), lambda _: None, 5))
    assert [*exhausted, phase.exhausted] == [True, False]
    assert first(phase).phase == "replicate"


def test_a_group_goes_on_until_its_last_member_has_ended(storage: Storage) -> None:
    phase, recorder = queue(storage, *entries("select", ANY))
    spec = first(phase)
    ends = [
        {
            "id": m.id,
            "epochs": [{"epoch": 1, "time": 1, "metrics": fake(m, 1)}],
            "outcome": outcome,
            "reason": "",
            "seconds": 0.5,
        }
        for m, outcome in zip(spec.members, ("finished", "failed", "finished"), strict=True)
    ]
    assert phase.result(spec, ends[:1], "cpu")
    assert phase.result(spec, ends[:2], "cpu"), "the first is told again by a worker that was replaced"
    assert phase.result(spec, [], "cpu")
    assert not phase.result(spec, ends, "cpu")
    assert recorder.ledger()["outcome"].tolist() == ["finished", "failed", "finished"]


def test_a_lost_group_costs_only_the_members_that_had_not_ended(storage: Storage) -> None:
    phase, recorder = queue(storage, *entries("replicate", ANY))
    spec = first(phase)
    done = spec.members[1]
    epochs = [{"epoch": 3, "time": 1, "metrics": fake(done, 3)}]
    phase.result(spec, [{"id": done.id, "epochs": epochs, "outcome": "finished", "reason": "", "seconds": 1.0}], "cpu")
    for member in spec.members[:1]:
        recorder.open[member.id].began -= 300.0
    phase.lost(spec, "worker lost: killed")
    ledger = recorder.ledger().set_index("trial_id")
    assert 100.0 <= ledger.loc[spec.members[0].id, "seconds"] < 120.0, "a third of what the group had a worker for"
    assert ledger["outcome"].to_dict() == {m.id: "finished" if m is done else "failed" for m in spec.members}
    assert ledger.loc[spec.members[0].id, "reason"] == "worker lost: killed"


@given(
    counts=st.lists(st.tuples(st.integers(1, 7), st.sampled_from([2, 5, 9]), st.booleans()), min_size=1, max_size=5),
    size=st.integers(1, 5),
)
def test_pack_groups_by_configuration_and_starts_with_the_costliest(
    counts: list[tuple[int, int, bool]], size: int
) -> None:
    waiting = []
    for i, (n, epochs, decoder) in enumerate(counts):
        model = SupervisedVAEConfig(decoder=(8,) if decoder else None, reconstruction=float(decoder))
        training = TrainingConfig(epochs=epochs, learning_rate=1e-3 * (i + 1))
        waiting += entries("select", replace(ANY, model=model, training=training), n=n)
    groups = pack(waiting, lambda _: None, size)
    assert sorted(id(e) for _, part in groups for e in part) == sorted(id(e) for e in waiting)
    for spec, part in groups:
        assert 1 <= len(spec.members) <= size
        assert spec.members == tuple(e.member for e in part)
        assert len({m.configuration for m in spec.members}) == 1
        assert {e.group_id for e in part} == {spec.id} == {spec.members[0].id}
    assert len(groups) == sum(math.ceil(n / size) for n, _, _ in counts)
    costs = [
        len(s.members)
        * s.members[0].configuration.training.epochs
        * (2 if s.members[0].configuration.model.decoder else 1)  # type: ignore[attr-defined]
        for s, _ in groups
    ]
    assert costs == sorted(costs, reverse=True)


def test_pack_keeps_arms_and_phases_apart() -> None:
    waiting = [*entries("select", ANY, n=2), *entries("replicate", ANY, n=2), *entries("select", ANY, arm=SVAE, n=2)]
    assert [
        (spec.phase, {m.arm for m in spec.members}, len(part)) for spec, part in pack(waiting, lambda _: None, 5)
    ] == [
        ("select", {"plain"}, 2),
        ("replicate", {"plain"}, 2),
        ("select", {"svae"}, 2),
    ]
    assert pack([], lambda _: None, 5) == []


def test_pack_does_as_the_record_says_for_each_configuration() -> None:
    wide = replace(ANY, model=SupervisedVAEConfig(latents=9))
    waiting = [*entries("replicate", ANY, n=6), *entries("replicate", wide, n=6)]
    choices = {ANY: Choice(2, "graph"), wide: None}
    groups = pack(waiting, choices.get, 4)
    assert [(s.members[0].configuration == wide, len(s.members), s.choice) for s, _ in groups] == [
        *[(True, 4, None)],
        *[(False, 2, Choice(2, "graph"))] * 3,
        *[(True, 2, USUAL)],  # the others of that configuration measure
    ]


WANTED = ("search", "select", "replicate")


def through(storage: Storage, seed: int, slots: int, unrest: float = 0.0, kills: Sequence[int] = ()) -> None:
    """All phases in one go, the driver killed after each number of events in `kills`."""
    rng = random.Random(seed)
    for steps in (*kills, 10**6):
        phase, _, recorder = open_search(STUDY, storage)
        pipeline = Pipeline(STUDY, 0, WANTED, phase, recorder, lambda _: None, 5)
        Cluster(pipeline, storage, rng, slots, unrest).run(steps)
    assert pipeline.exhausted
    recorder.flush()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    storage = Storage(tmp_path_factory.mktemp("calm"))
    through(storage, 0, slots=1)
    return storage


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 9), kills=st.lists(st.integers(0, 90), max_size=2))
def test_the_phases_in_one_go_leave_the_same_tables_however_disturbed(
    seed: int, slots: int, kills: list[int], tmp_path_factory: pytest.TempPathFactory, calm: Storage
) -> None:
    disturbed = Storage(tmp_path_factory.mktemp("disturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.study.recorder.FLUSH_EVERY", -1.0)
        through(disturbed, seed, slots, unrest=0.5, kills=kills)
    found, expected = (tables(s)[0].drop(columns="group_id") for s in (disturbed, calm))
    pd.testing.assert_frame_equal(found, expected)
    budget, n = STUDY.budget, STUDY.replication.n
    spent = expected.groupby(["arm", "phase"]).size()
    for arm in STUDY.arms:
        assert spent[arm.name].to_dict() == {
            "search": budget.trials, "select": budget.top_k * budget.reseeds, "replicate": n
        }  # fmt: skip
