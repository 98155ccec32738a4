from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study import Arm, BestOf, Budget, Comparison, DatasetConfig, Replication, Study, execution, lock
from vaetune.study.execution import Execution
from vaetune.study.load import Loaded
from vaetune.study.options import Options


def shared(trial: Any) -> dict[str, Any]:
    return {"training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)}


def wider(trial: Any) -> dict[str, Any]:
    return {"training.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}


PLAIN = Arm(name="plain", summary="as it is", overrides={"model.trunk": (8, 8)})
SVAE = Arm(name="svae", summary="with noise", overrides={"model.bottleneck": "gaussian"}, contains_plain=False)
STUDY = Study(
    name="demo",
    hypothesis="It helps — σ does.",
    arms=(PLAIN, SVAE),
    space=shared,
    comparisons=(Comparison(name="d", question="?", weights=(("svae", 1.0), (BestOf(("plain", "svae")), -1.0))),),
    dataset=DatasetConfig(name="digits", n_train=100),
    published={"svae": {"elsewhere": 0.1}},
)
INFO = {"name": "digits", "digest": "abc", "train": 1437, "test": 360, "classes": 10, "n_train": 100}


def loaded(sha256: str = "0" * 64) -> Loaded:
    return Loaded(path=Path("/somewhere/demo.py"), sha256=sha256, module=ModuleType("demo"), presets={}, docstring="")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(storage=str(tmp_path), preset="quick", seed=7)


def create(options: Options, study: Study = STUDY) -> Execution:
    return execution.create(loaded(), study, options, INFO)


def reopen(options: Options, run: str, study: Study = STUDY, **changes: Any) -> Execution:
    file, info = changes.pop("file", loaded()), changes.pop("info", INFO)
    return execution.reopen(file, study, replace(options, resume=run, **changes), info)


def unfinished(options: Options, study: Study = STUDY) -> str | None:
    return execution.unfinished(loaded(), study, options, INFO)


def stored(ex: Execution, name: str) -> dict[str, Any]:
    """A record, as any strict reader of JSON finds it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(ex.storage.read(name), parse_constant=refuse)
    return found


def test_an_execution_has_a_folder_of_its_own_with_its_records(options: Options, tmp_path: Path) -> None:
    ex = create(options)
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", ex.run)
    assert (tmp_path / "demo" / ex.run / "study.json").is_file()
    record = stored(ex, "study.json")
    assert (record["name"], record["run"], record["preset"], record["seed"]) == ("demo", ex.run, "quick", 7)
    assert record["file"] == {"name": "demo.py", "sha256": "0" * 64}
    assert record["hypothesis"] == "It helps — σ does."
    assert record["dataset"]["n_train"] == 100
    assert record["dataset_info"] == INFO
    assert record["budget"]["trials"] == 16
    assert record["objective"]["metric"] == "val/error"
    assert record["model"]["kind"] == "supervised_vae"
    assert record["published"] == {"svae": {"elsewhere": 0.1}}
    assert record["reproducible"] is False
    plain, svae = record["arms"]
    assert (plain["overrides"], plain["contains_plain"]) == ({"model.trunk": [8, 8]}, True)
    assert (svae["name"], svae["summary"], svae["contains_plain"]) == ("svae", "with noise", False)
    assert svae["space"] == [{"name": "learning_rate", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True}]
    assert record["comparisons"] == [
        {
            "name": "d",
            "question": "?",
            "base": "",
            "at": {},
            "weights": [["svae", 1.0], [["best_of", ["plain", "svae"]], -1.0]],
        }
    ]


def test_the_environment_is_recorded_without_secrets(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "only-the-server-knows")
    ex = create(options)
    found = stored(ex, "environment.json")
    assert {"vaetune", "python", "packages", "git", "hardware", "started", "wall_seconds"} <= found.keys()
    assert {"torch", "ray", "optuna", "mlflow"} <= found["packages"].keys()
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gib"] > 0
    assert datetime.fromisoformat(found["started"]).tzinfo is not None
    assert found["git"] is None or re.fullmatch("[0-9a-f]{40}", found["git"]["revision"])
    for name in ("study.json", "environment.json"):
        assert b"only-the-server-knows" not in ex.storage.read(name)


def test_facts_are_merged_into_the_environment(options: Options) -> None:
    ex = create(options)
    ex.write_environment(wall_seconds={"search": 1.5}, routes={"matmul": "medium"})
    ex.write_environment(wall_seconds={"report": 0.5}, python="3.12")
    found = stored(ex, "environment.json")
    assert found["wall_seconds"] == {"search": 1.5, "report": 0.5}
    assert (found["routes"], found["python"]) == ({"matmul": "medium"}, "3.12")
    again = reopen(options, ex.run)
    again.write_environment(wall_seconds={"evaluate": 2.0})
    assert stored(ex, "environment.json")["wall_seconds"] == {"search": 1.5, "report": 0.5, "evaluate": 2.0}


def test_a_storage_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--storage .*file.* cannot be written"):
        create(Options(storage=str(tmp_path / "file")))


def test_two_executions_never_share_a_folder(options: Options) -> None:
    assert len({create(options).run for _ in range(5)}) == 5


def test_an_execution_is_reopened_with_what_it_was_started_with(options: Options) -> None:
    ex = create(options)
    again = reopen(options, ex.run, preset="default", file=loaded("1" * 64))
    assert (again.run, again.storage.uri) == (ex.run, ex.storage.uri)
    assert again.environment == ex.environment
    assert stored(ex, "study.json")["preset"] == "quick", "its record is that of its start"


def test_what_an_execution_extends_is_written_down(options: Options) -> None:
    plain, ex = create(options), create(replace(options, extend="20260101-000000-abcd"))
    assert (plain.extends, stored(plain, "study.json")["extends"]) == ("", "")
    assert ex.extends == stored(ex, "study.json")["extends"] == "20260101-000000-abcd"
    assert (reopen(options, plain.run).extends, reopen(options, ex.run).extends) == ("", ex.extends)
    assert unfinished(options) == plain.run
    assert unfinished(replace(options, extend=ex.extends)) == ex.run


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("margin", lambda study: replace(study, margin=1.0)),
        ("hypothesis", lambda study: replace(study, hypothesis="Other.")),
        ("budget.trials", lambda study: replace(study, budget=Budget(trials=17))),
        ("replication.extra_epochs", lambda study: replace(study, replication=Replication(extra_epochs=1))),
        ("dataset.n_train", lambda study: replace(study, dataset=DatasetConfig(name="digits"))),
        ("comparisons", lambda study: replace(study, comparisons=())),
        ("arms", lambda study: replace(study, space=wider)),
        ("arms", lambda study: replace(study, arms=(PLAIN,))),
        ("arms", lambda study: replace(study, arms=(replace(PLAIN, stream="svae"), SVAE))),
        ("arms", lambda study: replace(study, arms=(replace(PLAIN, overrides={"model.trunk": (8, 9)}), SVAE))),
    ],
)
def test_another_study_is_not_resumed(key: str, change: Callable[[Study], Study], options: Options) -> None:
    ex = create(options)
    with pytest.raises(UserError, match=rf"run {ex.run} was started with another {key};.*\(preset quick, seed 7\)"):
        reopen(options, ex.run, change(STUDY))
    assert unfinished(options, change(STUDY)) is None


def test_a_setting_that_is_younger_than_the_run_was_as_it_is_by_default(options: Options) -> None:
    ex = create(options)
    record = stored(ex, "study.json")
    del record["training"]["precision"], record["replication"]["ais"]
    ex.storage.write("study.json", json.dumps(record).encode())
    reopen(options, ex.run)
    faster = replace(STUDY, training=replace(STUDY.training, precision="bf16"))
    with pytest.raises(UserError, match=r"started with another training\.precision;"):
        reopen(options, ex.run, faster)


def test_other_flags_and_other_data_are_refused_too(options: Options) -> None:
    ex = create(options)
    for key, change in (
        ("seed", {"seed": 8}),
        ("reproducible", {"reproducible": True}),
        ("dataset_info.digest", {"info": INFO | {"digest": "other"}}),
    ):
        with pytest.raises(UserError, match=f"started with another {key};"):
            reopen(options, ex.run, **change)
    with pytest.raises(UserError, match="started with another seed, reproducible;"):
        reopen(options, ex.run, seed=8, reproducible=True)


def test_an_unknown_run_is_refused_with_the_near_ones(options: Options) -> None:
    ex = create(options)
    with pytest.raises(UserError, match=rf"unknown run of demo in .* '{ex.run}x': did you mean '{ex.run}'"):
        reopen(options, ex.run + "x")
    with pytest.raises(UserError, match="unknown run of other"):
        reopen(options, ex.run, replace(STUDY, name="other"))


def test_a_folder_whose_driver_died_before_it_wrote_anything_is_no_run(options: Options, tmp_path: Path) -> None:
    (tmp_path / "demo" / "20260101-000000-abcd").mkdir(parents=True)
    with pytest.raises(UserError, match="unknown run of demo"):
        reopen(options, "20260101-000000-abcd")
    assert unfinished(options) is None


def test_a_missing_environment_is_made_again(options: Options) -> None:
    ex = create(options)
    ex.storage.delete("environment.json")
    assert reopen(options, ex.run).environment["packages"] == ex.environment["packages"]
    assert ex.storage.exists("environment.json")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["study.json", "environment.json"])
def test_a_damaged_record_is_the_users_error_that_names_it(name: str, damage: bytes, options: Options) -> None:
    ex = create(options)
    ex.storage.write(name, damage)
    with pytest.raises(UserError, match=f"{name} is damaged"):
        reopen(options, ex.run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("packages", ["torch"]),
        ("git", "main"),
        ("hardware", {"cpu": "x"}),
        ("started", "yesterday"),
        ("wall_seconds", {"search": "long"}),
        ("routes", {"matmul": 1}),
        ("python", 3.11),
    ],
)
def test_an_environment_with_a_value_of_another_kind_is_damaged(key: str, value: Any, options: Options) -> None:
    ex = create(options)
    ex.storage.write("environment.json", json.dumps(ex.environment | {key: value}).encode())
    with pytest.raises(UserError, match=rf"environment.json is damaged at {key}"):
        reopen(options, ex.run)


def test_the_latest_unfinished_run_of_this_very_study_is_offered(options: Options, tmp_path: Path) -> None:
    root = Storage(tmp_path)
    assert unfinished(options) is None
    runs = []
    for run in ("20260101-000000-aaaa", "20260102-000000-aaaa", "20260103-000000-aaaa", "20260104-000000-aaaa"):
        ex = create(options)
        for name in ("study.json", "environment.json"):
            root.write(f"demo/{run}/{name}", ex.storage.read(name))
        root.delete(f"demo/{ex.run}")
        runs.append(run)
    assert unfinished(options) == runs[3]
    assert unfinished(replace(options, seed=8)) is None
    root.write(f"demo/{runs[3]}/report/report.html", b"done")
    assert unfinished(options) == runs[2]
    root.write(f"demo/{runs[2]}/study.json", b"{")
    assert unfinished(options) == runs[1]
    with lock.held(root.below(f"demo/{runs[1]}")):
        assert unfinished(options) == runs[0]
    assert unfinished(options) == runs[1]
