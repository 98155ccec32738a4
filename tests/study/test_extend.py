"""A finished execution is extended to the numbers of one that had the greater length from the start.

Drivers whose cluster is this process; `test_warm` has one on Ray.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from vaetune import checkpoints
from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import (
    Arm,
    Budget,
    DatasetConfig,
    Replication,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
    runner,
    stages,
)
from vaetune.study.execution import Execution
from vaetune.study.options import Options
from vaetune.tables import Tables
from vaetune.training.group import Group

VOLATILE = ["started", "ended", "seconds", "time"]


def shared(trial: Any) -> dict[str, Any]:
    return {"training.epochs": trial.suggest_categorical("epochs", (3, 4))}


def rate(trial: Any) -> dict[str, Any]:
    return {"training.learning_rate": trial.suggest_float("learning_rate", 1e-2, 3e-2, log=True)}


PLAIN = Arm(name="plain", summary="", space=rate)
PATIENT = Arm(name="patient", summary="stops early", overrides={"training.patience": 1, "training.learning_rate": 0.3})
DECODER = {"model.bottleneck": "gaussian", "model.decoder": (8,), "model.decoder_share": 0.5}
STUDY = Study(
    name="extended",
    hypothesis="",
    arms=(PLAIN, PATIENT),
    dataset=DatasetConfig(name="digits", n_train=200, n_validation=200),
    model=SupervisedVAEConfig(trunk=(8,), latents=4),
    training=TrainingConfig(batch_size=64, ema=0.9),
    space=shared,
    budget=Budget(trials=2, audit=1, grace=1, reduction=2, top_k=1, reseeds=1),
    replication=Replication(n=3),
)


def longer(study: Study, extra: int) -> Study:
    return replace(study, replication=replace(study.replication, extra_epochs=extra))


@pytest.fixture(scope="module")
def driver(in_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return in_process(str(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def short(driver: Any) -> Execution:
    return driver(STUDY)


@pytest.fixture(scope="module")
def long(driver: Any) -> Execution:
    """With three more epochs from the start."""
    return driver(longer(STUDY, 3))


def contents(ex: Execution) -> dict[str, str]:
    assert ex.storage.local is not None
    files = [path for path in ex.storage.local.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(a: Execution, b: Execution) -> None:
    """Equal tables and equal checkpoints of replicates, but for times."""
    for table, key in (("ledger", ["trial_id"]), ("history", ["member_id", "epoch", "metric"])):
        left, right = (
            ex.tables.read(table).drop(columns=VOLATILE, errors="ignore").sort_values(key, ignore_index=True)
            for ex in (a, b)
        )
        pd.testing.assert_frame_equal(left, right)
    ledger = a.tables.read("ledger")
    for id in ledger[(ledger["phase"] == "replicate") & (ledger["outcome"] == "finished")]["trial_id"]:
        one, other = (checkpoints.load(ex.storage, id, training=True) for ex in (a, b))
        for ours, theirs in ((one.weights, other.weights), (one.training, other.training)):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert (one.config["identity"], one.config["outcome"]) == (other.config["identity"], "finished")
        assert not a.storage.list(f"checkpoints/{id}/partial")


def test_the_extended_run_is_the_one_that_was_longer_from_the_start(
    driver: Any, short: Execution, long: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, trained = contents(short), []
    run_epoch = Group.run_epoch

    def counted(group: Group) -> Any:
        trained.append((group.epoch, [member.id for member in group.members]))
        return run_epoch(group)

    monkeypatch.setattr(Group, "run_epoch", counted)
    extended = driver(longer(STUDY, 3), extends=short.run)
    same(extended, long)
    assert contents(short) == before, "the run that is extended is only read"
    ledger = short.tables.read("ledger")
    ends = ledger[ledger["phase"] == "replicate"].set_index("trial_id")[["epochs", "reason"]]
    assert {id for _, ids in trained for id in ids} == set(ends[ends["reason"] == ""].index)
    assert all(epoch >= ends.loc[id, "epochs"] for epoch, ids in trained for id in ids), "no epoch is trained twice"
    assert ends["reason"].str.startswith("no better").any(), "some had stopped early"
    replicates = extended.tables.read("ledger").query("phase == 'replicate' and arm == 'plain'")
    assert set(replicates["epochs"] - ends.loc[replicates["trial_id"], "epochs"].to_numpy()) == {3}
    assert set(replicates["config_hash"]) <= set(ledger[ledger["phase"] == "select"]["config_hash"])


def test_an_extended_run_is_extended_again(driver: Any, short: Execution, long: Execution) -> None:
    once = driver(longer(STUDY, 1), extends=short.run)
    same(driver(longer(STUDY, 3), extends=once.run), long)


@pytest.mark.parametrize("table", ["history", "ledger"])
def test_a_take_over_that_broke_off_is_resumed(
    table: str, driver: Any, short: Execution, long: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt = Tables.adopt

    def breaks(self: Tables, other: Tables, name: str, *rest: Any) -> None:
        if name == table:
            raise KeyboardInterrupt
        adopt(self, other, name, *rest)

    study, runs = longer(STUDY, 3), set(Storage(driver.root).list(STUDY.name))
    monkeypatch.setattr(Tables, "adopt", breaks)
    with pytest.raises(KeyboardInterrupt):
        driver(study, extends=short.run)
    monkeypatch.setattr(Tables, "adopt", adopt)
    (run,) = set(Storage(driver.root).list(STUDY.name)) - runs
    same(driver(study, resume=run), long)


def test_what_failed_begins_anew(driver: Any, long: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Group._judge

    def ill(group: Group, r: int, row: Any, first_bad: int) -> None:
        judge(group, r, row, first_bad)
        if row.id == "plain-rep01":
            row.outcome, row.reason = "failed", "the machine was ill"

    monkeypatch.setattr(Group, "_judge", ill)
    broken = driver(STUDY)
    monkeypatch.setattr(Group, "_judge", judge)
    same(driver(longer(STUDY, 3), extends=broken.run), long)


def test_with_refit_who_stops_early_keeps_its_usual_best_epoch(driver: Any) -> None:
    refit = replace(STUDY, replication=Replication(n=2, refit=True))
    short, long = driver(refit), driver(longer(refit, 2))
    extended = driver(longer(refit, 2), extends=short.run)
    same(extended, long)
    epochs = [
        ex.tables.read("ledger").query("phase == 'replicate'").groupby("arm")["epochs"].max() for ex in (short, long)
    ]
    assert (epochs[1] - epochs[0]).to_dict() == {"plain": 2, "patient": 0}


def test_only_the_length_may_differ_and_must_be_greater(driver: Any, short: Execution) -> None:
    study = longer(STUDY, 3)
    assert driver.check(study, short.run) == 3
    for other, flags, name in (
        (replace(study, budget=replace(STUDY.budget, trials=3)), {}, "budget.trials"),
        (replace(study, replication=replace(study.replication, n=4)), {}, "replication.n"),
        (replace(study, margin=1.0), {}, "margin"),
        (study, {"seed": 1}, "seed"),
    ):
        with pytest.raises(UserError, match=rf"cannot be extended with another {name}: only replication.extra_epochs"):
            driver.check(other, short.run, **flags)
    with pytest.raises(UserError, match=r"has replication.extra_epochs = 0.*--set replication.extra_epochs=10"):
        driver.check(STUDY, short.run)
    with pytest.raises(UserError, match="unknown run of extended"):
        driver.check(study, "20260101-000000-abcd")


def test_what_depends_on_the_whole_length_is_refused(driver: Any) -> None:
    cosine = replace(STUDY, arms=(replace(PLAIN, overrides={"training.schedule": "cosine"}),))
    staged = replace(STUDY, arms=(replace(PLAIN, overrides=DECODER),))
    for study, why in ((cosine, "follows a cosine"), (staged, "trains in stages")):
        ex = driver(study)
        with pytest.raises(
            UserError, match=rf"plain-rep00 cannot be extended: .*{why}.*training.pretrained=.*plain-rep00"
        ):
            driver.check(longer(study, 3), ex.run)


def test_what_has_no_training_state_or_is_damaged_is_refused(driver: Any) -> None:
    ex = driver(STUDY)
    found = checkpoints.load(ex.storage, "plain-rep02")
    checkpoints.save(ex.storage, "plain-rep02", found)
    with pytest.raises(
        UserError, match=r"plain-rep02 cannot be extended: .*no training state.*training.pretrained="
    ) as error:
        driver.check(longer(STUDY, 3), ex.run)
    assert "\n" not in str(error.value)
    ex.storage.write("checkpoints/plain-rep01/weights.safetensors", b"")
    with pytest.raises(UserError, match=r"plain-rep01: weights.safetensors is damaged"):
        driver.check(longer(STUDY, 3), ex.run)


def test_an_unfinished_run_is_to_be_finished_first(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = stages.Pipeline.result

    def dies(self: Any, spec: Any, *rest: Any) -> bool:
        if spec.phase == "replicate" and spec.members[0].arm == "patient":
            raise KeyboardInterrupt
        return result(self, spec, *rest)

    monkeypatch.setattr(stages.Pipeline, "result", dies)
    runs = set(Storage(driver.root).list(STUDY.name))
    with pytest.raises(KeyboardInterrupt):
        driver(STUDY)
    (run,) = set(Storage(driver.root).list(STUDY.name)) - runs
    with pytest.raises(UserError, match="is not finished: patient-rep00 was not trained; go on with it first"):
        driver.check(longer(STUDY, 3), run)


def test_extend_and_resume_do_not_go_together(driver: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give one of them"):
        runner.run(driver.LOADED, STUDY, Options(storage=str(tmp_path), extend="a", resume="b"))
