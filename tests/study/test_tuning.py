from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from vaetune.errors import UserError
from vaetune.study import tuning
from vaetune.study.members import GroupSpec
from vaetune.study.patience import GaveUp
from vaetune.study.tuning import Row, _Callback, _Guard, _Scheduler, _Searcher, _Stopper

SPEC = GroupSpec("svae-0001", "search", ())
ROWS = [{"id": "svae-0001", "epochs": [], "outcome": "", "reason": "", "seconds": 0.0}]


class Book:
    """A phase that answers as it is told and writes down what it hears."""

    def __init__(self, specs: Sequence[GroupSpec | None] = (), goes_on: bool = True) -> None:
        self.specs, self.goes_on = list(specs), goes_on
        self.heard: list[Any] = []
        self.error: UserError | None = None

    @property
    def exhausted(self) -> bool:
        return not self.specs

    def next(self) -> GroupSpec | None:
        return self.specs.pop(0)

    def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
        if self.error:
            raise self.error
        self.heard.append((spec.id, list(rows), device))
        return self.goes_on

    def lost(self, spec: GroupSpec, reason: str) -> None:
        self.heard.append((spec.id, reason))


def trial(error: BaseException | None = None) -> Any:
    """What Tune hands to its parts, as far as they look."""
    text = f"Traceback …\n{error!r}"
    return SimpleNamespace(config={"spec": SPEC}, get_error=lambda: text, get_pickled_error=lambda: error)


def deliver(guard: _Guard, routes: Mapping[str, str] | None = None) -> str:
    result = {"rows": ROWS, "device": "cpu", "routes": list((routes or {}).items()), "unfit": ""}
    return _Scheduler(guard).on_trial_result(None, trial(), result)


def test_groups_are_handed_out_until_the_phase_is_exhausted() -> None:
    searcher = _Searcher(_Guard(Book([SPEC, None, SPEC])))
    assert [searcher.suggest(str(i)) for i in range(4)] == [{"spec": SPEC}, None, {"spec": SPEC}, Searcher.FINISHED]


@pytest.mark.parametrize(("goes_on", "decision"), [(True, TrialScheduler.CONTINUE), (False, TrialScheduler.STOP)])
def test_the_phase_decides_whether_a_group_goes_on(goes_on: bool, decision: str) -> None:
    book = Book(goes_on=goes_on)
    assert deliver(_Guard(book)) == decision
    assert book.heard == [("svae-0001", ROWS, "cpu")]


def test_a_lost_worker_is_told_with_its_reason() -> None:
    book = Book()
    _Callback(_Guard(book)).on_trial_error(1, [], trial(RuntimeError("the actor died")))
    ((id, reason),) = book.heard
    assert id == "svae-0001"
    assert reason.startswith("worker lost: ")
    assert "the actor died" in reason


def test_a_worker_that_is_tried_again_is_said_in_a_line() -> None:
    said: list[str] = []
    _Callback(_Guard(Book(), say=said.append)).on_trial_recover(1, [], trial())
    assert said == ["svae-0001: its worker was lost; it goes on from its last checkpoint"]


def test_a_storage_that_was_waited_for_in_vain_stops_the_run_and_blames_no_group() -> None:
    book = Book()
    guard = _Guard(book)
    _Callback(guard).on_trial_error(1, [], trial(GaveUp("results cannot be written: disk full")))
    assert not book.heard
    assert isinstance(guard.error, GaveUp)
    assert guard.stop()


def test_workers_that_do_not_start_stop_the_run_and_blame_no_group() -> None:
    book = Book()
    guard = _Guard(book)
    error = RayActorError(error_msg="No module named 'x'", actor_init_failed=True)
    _Callback(guard).on_trial_error(1, [], trial(error))
    assert not book.heard
    assert "workers do not start: " in str(guard.error)
    assert guard.stop()


def test_a_worker_that_never_comes_up_stops_the_run() -> None:
    guard = _Guard(Book(), limit=0.0)
    callback = _Callback(guard)
    waiting, works = SimpleNamespace(status="PENDING"), SimpleNamespace(status="RUNNING")
    callback.on_step_end(1, [waiting, works])
    assert not guard.stop()
    callback.on_step_end(2, [waiting, SimpleNamespace(status="TERMINATED")])
    assert "no worker has started" in str(guard.error)
    assert guard.stop()


def test_in_a_silence_the_storage_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, probes = [0.0], list[float]()
    monkeypatch.setattr("vaetune.study.tuning.time.monotonic", lambda: now[0])
    guard = _Guard(Book(), limit=1e9, probe=lambda: probes.append(now[0]))
    for now[0] in range(60):
        if now[0] in (10.0, 50.0):
            deliver(guard)
        guard.look(True)
    assert probes == [26.0, 42.0]


def test_tune_knows_no_keys_beyond_those_kept_from_it() -> None:
    from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

    assert not {
        name
        for name in ENV_VARS_TO_PROPAGATE - tuning._SECRETS
        if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD"))
    }


def test_after_an_error_of_the_user_s_everything_stops_and_nobody_is_asked() -> None:
    book = Book([SPEC, SPEC])
    book.error = UserError("arm 'svae': 4 of 4 trials failed")
    guard = _Guard(book)
    assert not guard.stop()
    assert deliver(guard) == TrialScheduler.STOP
    assert guard.error is book.error
    assert _Stopper(guard).stop_all()
    book.error = None
    assert deliver(guard) == TrialScheduler.STOP
    assert _Searcher(guard).suggest("1") == Searcher.FINISHED
    _Callback(guard).on_trial_error(1, [], trial())
    assert (book.heard, len(book.specs)) == ([], 2)


def test_any_other_error_is_not_caught() -> None:
    class Broken(Book):
        def result(self, spec: GroupSpec, rows: Sequence[Row], device: str) -> bool:
            raise KeyError("val/error")

    with pytest.raises(KeyError):
        deliver(_Guard(Broken()))


def test_an_interruption_stops_everything_but_no_single_group() -> None:
    flag = [False]
    stopper = _Stopper(_Guard(Book(), lambda: flag[0]))
    assert not stopper.stop_all()
    flag[0] = True
    assert stopper.stop_all()
    assert not stopper("svae-0001", {})


def test_a_machine_that_is_unfit_ends_the_run_and_nobody_is_blamed() -> None:
    book = Book()
    guard = _Guard(book)
    result = {"rows": [], "device": "", "routes": [], "unfit": "machine 10.0.0.5 has torch 1.0"}
    assert _Scheduler(guard).on_trial_result(None, trial(), result) == TrialScheduler.STOP
    assert not book.heard
    assert str(guard.error) == "machine 10.0.0.5 has torch 1.0"
    assert guard.stop()


def test_routes_are_told_once_each() -> None:
    learned: list[dict[str, str]] = []
    guard = _Guard(Book(), learn=lambda routes: learned.append(dict(routes)))
    for matmul in ("medium", "medium", "highest", "medium"):
        deliver(guard, {"matmul": matmul})
    assert learned == [{"matmul": "medium"}, {"matmul": "highest"}]


def test_tune_s_snapshots_hold_nothing_of_ours() -> None:
    guard = _Guard(Book([SPEC]))
    guard.phase.unpicklable = lambda: None  # type: ignore[union-attr]
    for part in (_Searcher(guard), _Scheduler(guard), _Stopper(guard), _Callback(guard)):
        assert pickle.loads(pickle.dumps(part))._guard.phase is None


STUDY = textwrap.dedent(
    '''
    """On a real Ray: a group that trains, one whose worker dies once, one whose workers always die, one that raises."""

    import json, os, sys
    from dataclasses import dataclass, replace
    from pathlib import Path
    from typing import ClassVar

    from vaetune.study import cluster

    cluster.prepare(None)

    import numpy as np

    from vaetune.config import Configuration
    from vaetune.errors import UserError
    from vaetune.models.supervised_vae import SupervisedVAE
    from vaetune.storage import Storage
    from vaetune.study import Arm, DatasetConfig, Replication, Resources, Study, SupervisedVAEConfig, TrainingConfig
    from vaetune.study import members, tuning
    from vaetune.study.members import GroupSpec
    from vaetune.study.pool import Pool


    class Mortal(SupervisedVAE):
        def terms(self, *arguments, **named):
            if self.config.fate == "raises":
                raise ArithmeticError("no such number")
            mark = Path(self.config.mark)
            if self.config.fate == "always" or (self.config.fate == "once" and not mark.exists()):
                mark.touch()
                os._exit(3)
            return super().terms(*arguments, **named)


    @dataclass(frozen=True, kw_only=True)
    class MortalConfig(SupervisedVAEConfig):
        kind: ClassVar[str] = "mortal"
        fate: str = "trains"
        mark: str = ""

        def build(self, shape, classes):
            return Mortal(self, shape, classes)


    folder = Path(sys.argv[1])
    arm = Arm(name="svae", summary="")
    study = Study(name="s", hypothesis="h", arms=(arm,), replication=Replication(n=2))


    def group(fate):
        configuration = Configuration(
            model=MortalConfig(trunk=(8,), latents=4, fate=fate, mark=str(folder / fate)),
            training=TrainingConfig(epochs=3, batch_size=16),
            dataset=DatasetConfig(n_validation=24),
        )
        found = [replace(m, id=f"{fate}-{i}") for i, m in enumerate(members.replicates(study, 0, arm, [configuration]))]
        return GroupSpec(fate, "replicate", tuple(found))


    class Book:
        """Waits with the fifth group until the four before have ended, and objects to what it tells."""

        def __init__(self):
            self.specs = [group(fate) for fate in ("trains", "once", "always", "raises", "last", "never", "never")]
            self.rows, self.outcomes, self.losses, self.under_way = [], {}, {}, 0

        @property
        def exhausted(self):
            return not self.specs

        def next(self):
            if len(self.specs) <= 3 and self.under_way:
                return None
            self.under_way += 1
            return self.specs.pop(0)

        def result(self, spec, rows, device):
            if spec.id == "last":
                raise UserError("that is enough")
            for row in rows:
                self.rows += [[row["id"], epoch["epoch"]] for epoch in row["epochs"]]
                if row["outcome"]:
                    self.outcomes[row["id"]] = [row["outcome"], row["reason"].strip().splitlines()[-1:]]
            goes_on = len([id for id in self.outcomes if id.startswith(spec.id)]) < len(spec.members)
            self.under_way -= not goes_on
            return goes_on

        def lost(self, spec, reason):
            self.losses[spec.id] = reason
            self.under_way -= 1


    rng = np.random.default_rng(0)
    data = {
        "pool": Pool(rng.integers(0, 255, (96, 1, 4, 4), dtype=np.uint8), np.arange(96) % 3),
        "classes": 3,
        "storage": Storage(folder / "execution"),
        "refit": False,
        "stall": 60.0,
        "driver": None,
        "most": 5,
    }
    book, routes, error = Book(), [], ""
    with cluster.connected(None, study) as slots:
        try:
            tuning.run(book, data, lambda arm: Resources(), slots, lambda: False, routes.append, retries=1)
        except UserError as raised:
            error = str(raised)
    out = {"rows": book.rows, "outcomes": book.outcomes, "losses": book.losses, "left": [s.id for s in book.specs]}
    out |= {"routes": routes, "error": error, "checkpoints": data["storage"].list("checkpoints")}
    print(json.dumps(out))
    '''
)


def program(text: str, tmp_path: Path) -> str:
    """What the program prints, which is given the path of an empty folder."""
    file = tmp_path / "program.py"
    file.write_text(text)
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "data")],
        env={key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNE_"))},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_groups_on_a_real_ray(tmp_path: Path) -> None:
    told = json.loads(program(STUDY, tmp_path).splitlines()[-1])
    assert told["outcomes"] == {f"{fate}-{i}": ["finished", []] for fate in ("trains", "once") for i in (0, 1)} | {
        f"raises-{i}": ["failed", ["ArithmeticError: no such number"]] for i in (0, 1)
    }
    expected = [[f"{fate}-{i}", epoch] for fate in ("trains", "once") for i in (0, 1) for epoch in (1, 2, 3)]
    assert sorted(told["rows"]) == sorted(expected)
    assert list(told["losses"]) == ["always"]
    assert told["losses"]["always"].startswith("worker lost: ")
    assert (tmp_path / "data" / "once").exists()
    kept = [f"{fate}-{i}" for fate in ("once", "trains") for i in (0, 1)]
    assert [id for id in told["checkpoints"] if not id.startswith("last")] == kept
    assert len(told["routes"]) == 1
    assert told["error"] == "that is enough"
    assert "never" in told["left"], "what had not begun did not begin any more"


RACE = textwrap.dedent(
    '''
    """On a real Ray: groups that are shorter than the start of a worker, and one worker that is up long before."""

    import os, sys, time
    from dataclasses import replace
    from pathlib import Path

    from vaetune.study import cluster

    cluster.prepare(None)

    import numpy as np

    from vaetune.config import Configuration
    from vaetune.storage import Storage
    from vaetune.study import Arm, DatasetConfig, Replication, Resources, Study, SupervisedVAEConfig, TrainingConfig
    from vaetune.study import members, tuning
    from vaetune.study.members import GroupSpec
    from vaetune.study.pool import Pool
    from vaetune.study.trainable import GroupTrainable

    folder = Path(sys.argv[1])
    arm = Arm(name="svae", summary="")
    study = Study(name="s", hypothesis="h", arms=(arm,), replication=Replication(n=1))


    class Late(GroupTrainable):
        def setup(self, config, **data):
            first = not any(folder.iterdir())
            (folder / str(os.getpid())).touch()
            if not first:
                time.sleep(4)
            super().setup(config, **data)

        def step(self):
            time.sleep(0.3)
            return super().step()


    def group(number):
        configuration = Configuration(
            model=SupervisedVAEConfig(trunk=(8,), latents=4),
            training=TrainingConfig(epochs=1, batch_size=16),
            dataset=DatasetConfig(n_validation=24),
        )
        member = members.replicates(study, 0, arm, [configuration])[0]
        return GroupSpec(f"g{number}", "replicate", (replace(member, id=f"g{number}"),))


    class Book:
        specs = [group(number) for number in range(30)]
        exhausted = property(lambda self: not self.specs)

        def next(self):
            return self.specs.pop(0)

        def result(self, spec, rows, device):
            return not any(row["outcome"] for row in rows)

        def lost(self, spec, reason):
            sys.exit(reason)


    rng = np.random.default_rng(0)
    data = {
        "pool": Pool(rng.integers(0, 255, (96, 1, 4, 4), dtype=np.uint8), np.arange(96) % 3),
        "classes": 3,
        "storage": Storage(folder.parent / "execution"),
        "refit": False,
        "stall": 60.0,
        "driver": None,
        "most": 5,
    }
    tuning.GroupTrainable = Late
    with cluster.connected(None, study) as slots:
        tuning.run(Book(), data, lambda arm: Resources(), slots, lambda: False)
    print(slots, len(list(folder.iterdir())))
    '''
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_starts_keeps_its_group(tmp_path: Path) -> None:
    """Else whoever is idle takes it, the start was for nothing, and the next group has a worker started once more."""
    slots, started = program(RACE, tmp_path).split()[-2:]
    if slots == "1":
        pytest.skip("one worker at a time: there is nobody to take a group from")
    assert slots == started
