"""Synthetic executions: an execution's JSON files and tables, made with numpy in the shape that a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vaetune.report.evidence import Evidence, assemble
from vaetune.storage import Storage
from vaetune.tables import Tables

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CLASSES = 10


@dataclass
class Execution:
    """What a run leaves behind, as plain data that a test may spoil before it is assembled or written."""

    study: dict[str, Any]
    environment: dict[str, Any]
    ledger: pd.DataFrame
    history: pd.DataFrame
    replicates: pd.DataFrame
    predictions: pd.DataFrame
    optional: dict[str, pd.DataFrame] = field(default_factory=dict)

    def assembled(self) -> Evidence:
        tables = {
            name: getattr(self, name) for name in ("ledger", "history", "replicates", "predictions")
        } | self.optional
        return assemble(self.study, self.environment, **tables)

    def write(self, storage: Storage) -> None:
        storage.write("study.json", json.dumps(self.study).encode())
        storage.write("environment.json", json.dumps(self.environment).encode())
        frames = {name: getattr(self, name) for name in ("ledger", "history", "replicates")} | self.optional
        for name, frame in frames.items():
            rows = [{k: v for k, v in row.items() if not pd.isna(v)} for row in frame.to_dict("records")]
            Tables(storage).append(name, rows)
        for _, part in self.predictions.groupby("replicate_id", sort=False):
            Tables(storage).append("predictions", part.to_dict("records"))


def make(
    arms: Mapping[str, float],
    *,
    comparisons: list[dict[str, Any]] | None = None,
    n: int = 6,
    m: int = 200,
    seed_sd: float = 0.002,
    searches: int = 1,
    trials: int = 8,
    epochs: int = 6,
    seed: int = 0,
) -> Execution:
    """An execution whose arms have the given expected test errors; the first arm is compared with each other one."""
    rng = np.random.default_rng(seed)
    first, *others = arms
    if comparisons is None:
        comparisons = [_pair(first, other) for other in others]
    study = _study(arms, comparisons, n, m, searches, trials)
    hardness = rng.random(m)  # shared by the arms, as the same test images are
    shared = seed_sd * rng.standard_normal(n)
    ledger, history, replicates, predictions = [], [], [], []
    for k, (arm, error) in enumerate(arms.items()):
        searched = _ledger(arm, error, searches, trials, epochs, rng)
        ledger += searched
        history += _rungs(searched, 2)
        for i in range(n):
            rate = np.clip(error + shared[i] + seed_sd * rng.standard_normal(), 0, 1)
            score = 0.8 * hardness + 0.2 * rng.random(m)
            wrong = score > np.quantile(score, 1 - rate)
            own = f"{arm}-rep{i:02d}"
            replicates.append(_replicate(own, arm, i, i % searches, wrong.mean(), 2.0 * k, epochs, rng))
            predictions.append(_predictions(own, wrong, rng))
            for epoch in range(1, epochs + 1):
                value = wrong.mean() + 0.5 * np.exp(-epoch / 2) + 0.003 * rng.standard_normal()
                history.append({"member_id": own, "epoch": epoch, "metric": "val/error", "value": value, "time": NOW})
    return Execution(
        study,
        _environment(),
        pd.DataFrame(ledger),
        pd.DataFrame(history),
        pd.DataFrame(replicates),
        pd.concat(predictions, ignore_index=True),
    )


def fail(execution: Execution, replicate_id: str, reason: str = "loss is not finite") -> None:
    """Turn a replicate into one that diverged: no predictions, chance error, no other metric."""
    table = execution.replicates
    row = table["replicate_id"] == replicate_id
    metrics = [column for column in table if "/" in column]
    table.loc[row, metrics] = np.nan
    table.loc[row, "test/error"] = 1 - 1 / CLASSES
    table.loc[row, ["outcome", "reason"]] = ["failed", reason]
    execution.predictions = execution.predictions[execution.predictions["replicate_id"] != replicate_id]


@pytest.fixture(scope="session")
def execution() -> Callable[..., Execution]:
    return make


@pytest.fixture(scope="session")
def fail_replicate() -> Callable[..., None]:
    return fail


def _pair(ours: str, theirs: str) -> dict[str, Any]:
    return {
        "name": f"{ours} − {theirs}",
        "question": f"Is {ours} better than {theirs}?",
        "weights": [[ours, 1.0], [theirs, -1.0]],
    }


def _study(
    arms: Mapping[str, float], comparisons: list[dict[str, Any]], n: int, m: int, searches: int, trials: int
) -> dict[str, Any]:
    space = [
        {"name": "beta", "kind": "float", "low": 1e-4, "high": 1.0, "log": True},
        {"name": "epochs", "kind": "categorical", "choices": [15, 30]},
    ]
    return {
        "name": "tiny_ablation",
        "run": "2026-01-02-a1b2",
        "hypothesis": "Noise on the latent regularizes.",
        "preset": "default",
        "seed": 0,
        "dataset": {"name": "fashion_mini", "label_noise": 0.0},
        "dataset_info": {
            "name": "fashion_mini",
            "digest": "0123456789abcdef",
            "train": 5000,
            "test": m,
            "classes": CLASSES,
            "n_train": 4000,
            "n_validation": 1000,
        },
        "model": {},
        "training": {},
        "objective": {"metric": "val/error", "direction": "minimize", "unit": "%", "tie": "val/nll_scaled"},
        "budget": {
            "trials": trials,
            "audit": 2,
            "grace": 2,
            "reduction": 3,
            "top_k": 2,
            "reseeds": 2,
            "searches": searches,
        },
        "replication": {"n": n, "refit": False, "samples": 12},
        "resources": {"cpus": 1.0, "gpus": 0.0},
        "margin": 0.5,
        "published": {},
        "arms": [
            {"name": arm, "summary": f"what {arm} changes", "overrides": {}, "contains_plain": True, "space": space}
            for arm in arms
        ],
        "comparisons": comparisons,
        "reproducible": False,
    }


def _environment() -> dict[str, Any]:
    return {
        "vaetune": "0.1.0",
        "python": "3.11.7",
        "packages": {"numpy": "2.4.6", "torch": "2.15.0"},
        "git": {"revision": "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334", "dirty": False},
        "hardware": {"cpu": "a CPU", "cores": 2, "memory_gib": 8, "gpus": []},
        "routes": {"matmul": "bmm"},
        "started": "2026-01-02T03:04:05+00:00",
        "wall_seconds": {"search": 900.0, "select": 60.0, "replicate": 300.0, "evaluate": 30.0},
    }


def _ledger(
    arm: str, error: float, searches: int, trials: int, epochs: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows = []
    for search in range(searches):
        for number in range(trials):
            stopped = number % 3 == 2
            row = {
                "trial_id": f"{arm}.s{search}-{number:04d}",
                "phase": "search",
                "slice": "audit" if number < 2 else "asha",
                "number": number,
                "params": json.dumps({"beta": 10 ** (-3.5 + 0.3 * number), "epochs": 15}),
                "config_hash": f"{arm}-{search}-{number}",
                "outcome": "stopped" if stopped else "finished",
                "objective": error + 0.03 - 0.002 * number + 0.001 * rng.standard_normal(),
                "epochs": epochs // 2 if stopped else epochs,
            }
            rows.append(row)
        for rank, number in enumerate((1, trials - 1)):
            for again in range(2):
                chosen = {"number": rank, "params": "{}", "config_hash": f"{arm}-{search}-{number}"}
                own = {"trial_id": f"{arm}.s{search}-k{rank}-r{again}", "phase": "select", "slice": f"fold{again}"}
                score = {"outcome": "finished", "objective": error + 0.01 * (number == 1), "epochs": epochs}
                rows.append(own | chosen | score)
        for row in rows:
            row.setdefault("search", search)
    common = {"arm": arm, "config": "{}", "seed": 1, "group_id": "g", "reason": "", "length": epochs, "device": "cpu"}
    times = {"started": NOW, "ended": NOW}
    return [{**row, **common, **times, "tie": 0.5, "seconds": 0.4 * row["epochs"]} for row in rows]


def _rungs(searched: list[dict[str, Any]], rung: int) -> list[dict[str, Any]]:
    """Scores at a rung that are twice the final ones."""
    metrics = {"val/error": "objective", "val/nll_scaled": "tie"}
    return [
        {"member_id": row["trial_id"], "epoch": rung, "metric": metric, "value": 2 * row[column], "time": NOW}
        for row in searched
        for metric, column in metrics.items()
        if row["phase"] == "search"
    ]


def _replicate(
    own: str, arm: str, i: int, search: int, error: float, rate: float, epochs: int, rng: np.random.Generator
) -> dict[str, Any]:
    noise = 1 + 0.02 * rng.standard_normal()
    return {
        "replicate_id": own,
        "arm": arm,
        "replicate": i,
        "search": search,
        "seed": 1000 + i,
        "config_hash": f"{arm}-{search}-7",
        "dataset": "fashion_mini",
        "n_train": 4000,
        "label_noise": 0.0,
        "outcome": "finished",
        "reason": "",
        "epochs": epochs,
        "seconds": 2.5,
        "parameters": 269_322,
        "test/error": error,
        "test/nll": 3 * error * noise,
        "test/nll_scaled": 2.8 * error * noise,
        "test/brier": 1.5 * error * noise,
        "test/ece": 0.4 * error * noise,
        "test/ece_scaled": 0.1 * error * noise,
        "test/error_k": error,
        "test/nll_k": 2.7 * error * noise,
        "val/error": error * noise,
        "val/nll_scaled": 2.9 * error * noise,
        "train/error": 0.2 * error * noise,
        "train/nll": 0.5 * error * noise,
        "gap/error": error - 0.2 * error * noise,
        "gap/nll": 2.5 * error * noise,
        "rate/nats": rate,
        "rate/bits": rate / np.log(2),
        "latent/active_units": 12.0,
        "scale/temperature": 1.4 * noise,
        "scale/mu_rms": 0.9 * noise,
        **({"scale/sigma_rms": 0.1 * noise, "scale/snr": 9 * noise} if rate else {}),
        "scale/head_norm": 6.2 * noise,
        "scale/logits_rms": 3.3 * noise,
    }


def _predictions(own: str, wrong: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    m = len(wrong)
    target = np.arange(m) % CLASSES
    columns = {
        "replicate_id": own,
        "example": np.arange(m).astype(np.int32),
        "evaluation": "mean",
        "target": target.astype(np.int16),
        "predicted": ((target + wrong) % CLASSES).astype(np.int16),
        "correct": ~wrong,
        "log_loss": np.where(wrong, 1 + 3 * rng.random(m), 0.3 * rng.random(m)).astype(np.float32),
        "confidence": (0.7 + 0.2 * rng.random(m)).astype(np.float32),
    }
    return pd.concat(
        [
            pd.DataFrame(columns),
            pd.DataFrame({**columns, "evaluation": "k_sample", "correct": True, "log_loss": np.float32(0)}),
        ],
        ignore_index=True,
    )
