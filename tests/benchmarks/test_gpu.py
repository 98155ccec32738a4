"""The GPU benchmark without a GPU: its step is the engine's, and it needs neither ray nor mlflow."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import gpu


def test_the_measured_step_is_the_engines() -> None:
    assert gpu.self_check() < 1e-5


def test_another_step_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.Step, "__call__", lambda step: None)
    assert gpu.self_check() > 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_route_trains_on_the_gpu() -> None:
    assert all(row["finite"] for row in gpu.measure([2], 400, 1))


def test_it_needs_torch_and_numpy_alone() -> None:
    heavy = ("ray", "mlflow", "pandas", "scipy", "sklearn", "pyarrow", "torchvision", "optuna", "pydantic")
    code = f"import sys, benchmarks.gpu; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
