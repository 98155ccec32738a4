from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from vaetune import checkpoints, config
from vaetune.datasets import open_dataset
from vaetune.models.base import initialise
from vaetune.storage import Storage
from vaetune.study import explore
from vaetune.study.console import Console
from vaetune.study.execution import Execution
from vaetune.study.load import load
from vaetune.study.space import configuration
from vaetune.training.seeds import Seeds


@pytest.fixture
def ex(tiny: Path, tmp_path: Path) -> Execution:
    """An execution of the tiny study with three measured replicates of each arm, and no checkpoint."""
    study = load(str(tiny)).preset("default")
    ex = Execution(study, "R", Storage(tmp_path))
    rows = []
    for arm in study.arms:
        for i, error in enumerate((0.3, 0.1, 0.2)):
            row = {"replicate_id": f"{arm.name}-rep{i:02d}", "arm": arm.name, "replicate": i, "search": 0, "seed": i}
            row |= {"config_hash": "h", "dataset": "digits", "n_train": 9, "label_noise": 0.0, "outcome": "finished"}
            row |= {"reason": "", "epochs": 2, "seconds": 1.0, "parameters": 1, "val/error": error, "val/nll": 1.0}
            rows.append(row)
    ex.tables.append("replicates", rows)
    return ex


def trained(ex: Execution, id: str) -> None:
    chosen = configuration(ex.study, ex.study.arm(id.rpartition("-")[0]), {})
    model = chosen.model.build((1, 8, 8), 10)
    initialise(model, 0)
    facts = {"configuration": config.to_json(chosen), "seeds": asdict(Seeds(1, 1, 1, 1, 1)), "epoch": 2}
    checkpoints.save(ex.storage, id, checkpoints.Checkpoint(facts, model.state_dict(), {}))


def test_the_best_replicate_of_each_arm_that_decodes(ex: Execution, capsys: pytest.CaptureFixture[str]) -> None:
    trained(ex, "svae_decoder-rep01")  # and of no other arm: those are not asked for
    explore.explore(ex, open_dataset("digits"), Console([], "%"))
    text = ex.storage.read(explore.FILE).decode()
    assert "svae_decoder-rep01" in text
    assert "svae-rep" not in text
    assert f"{ex.storage.uri}/report/explorer.html" in capsys.readouterr().out


def test_a_damaged_checkpoint_costs_a_line_and_no_study(ex: Execution, capsys: pytest.CaptureFixture[str]) -> None:
    explore.explore(ex, open_dataset("digits"), Console([], "%"))
    assert not ex.storage.exists(explore.FILE)
    assert "explorer: checkpoint " in capsys.readouterr().out


def test_without_a_decoder_there_is_no_explorer(ex: Execution, capsys: pytest.CaptureFixture[str]) -> None:
    ex.study = replace(ex.study, arms=ex.study.arms[:2])
    explore.explore(ex, open_dataset("digits"), Console([], "%"))
    assert not ex.storage.exists(explore.FILE)
    assert capsys.readouterr().out == ""
