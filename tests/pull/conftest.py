"""A finished execution made by hand: real models with their checkpoints, tables and record, without a study."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vaetune import checkpoints, config
from vaetune.config import Configuration, DatasetConfig, TrainingConfig
from vaetune.models.base import initialise
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.storage import Storage
from vaetune.study import Objective
from vaetune.tables import Tables
from vaetune.training.seeds import Seeds

RUN = "20260102-030405-abcd"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ARMS = {
    "plain": SupervisedVAEConfig(trunk=(16,), latents=4),
    "svae": SupervisedVAEConfig(
        trunk=(16,), latents=4, bottleneck="gaussian", beta=0.01, decoder=(16,), reconstruction=0.1
    ),
}


def _write(root: Path) -> Storage:
    storage = Storage(root).below(f"toy/{RUN}")
    tables = Tables(storage)
    replicates, history = [], []
    for arm, model_config in ARMS.items():
        for i, error in enumerate((0.3, 0.1, 0.2)):
            id = f"{arm}-rep{i:02d}"
            configuration = Configuration(
                model=model_config,
                training=TrainingConfig(epochs=2),
                dataset=DatasetConfig(name="digits", n_train=100, n_validation=50),
            )
            model = model_config.build((1, 8, 8), 10)
            initialise(model, i)
            measured = {"val/error": error, "val/nll": error * 5}
            facts = {
                "id": id,
                "arm": arm,
                "phase": "replicate",
                "configuration": config.to_json(configuration),
                "seeds": asdict(Seeds(i, i, i, i, i)),
                "shape": [1, 8, 8],
                "classes": 10,
                "epoch": 2,
                "history": [{"epoch": 2, "metrics": measured | {"train/loss": 1.0}, "time": 0}],
            }
            checkpoints.save(storage, id, checkpoints.Checkpoint(facts, model.state_dict(), {}))
            row = {"replicate_id": id, "arm": arm, "replicate": i, "search": 0, "seed": i, "config_hash": "h"}
            row |= {"dataset": "digits", "n_train": 100, "label_noise": 0.0, "outcome": "finished", "reason": ""}
            row |= {"epochs": 2, "seconds": 1.0, "parameters": 1, "test/error": error + 0.05, **measured}
            replicates.append(row)
            history.append({"member_id": id, "epoch": 2, "metric": "val/error", "value": error, "time": NOW})
    tables.append("replicates", replicates)
    tables.append("history", history)
    tables.append("history", history[:1])  # told twice
    record = {"name": "toy", "run": RUN, "objective": config.to_json(Objective())}
    storage.write("study.json", json.dumps(record).encode())
    storage.write("report/report.html", b"<p>report</p>")
    return storage


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    _write(root)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A storage root with one finished execution of the study toy."""
    shutil.copytree(template, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "toy" / RUN


@pytest.fixture
def sealed() -> Callable[[Path, dict[str, bytes]], None]:
    """Puts other bytes into a checkpoint's files, with a manifest that agrees: what an attacker could do."""

    def seal(checkpoint: Path, files: dict[str, bytes], **changes: Any) -> None:
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        for name, data in files.items():
            (checkpoint / name).write_bytes(data)
            manifest["files"][name] = {"sha256": checkpoints._sha256(data), "bytes": len(data)}
        (checkpoint / "manifest.json").write_text(json.dumps(manifest | changes))

    return seal
