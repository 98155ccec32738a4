"""The GPU benchmark: finite numbers where there is a GPU, and little that it asks for where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import gpu

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_gpu
def test_every_route_trains_on_the_gpu() -> None:
    assert gpu.difference(gpu.images(250)) < 1e-5
    assert all(row["finite"] and row["share_of_floor"] < 1 for row in gpu.measure([2], 400, 1))


def test_it_counts_the_operations_of_the_papers_network() -> None:
    data, layers = gpu.images(10), [784 * 1024, 1024 * 1024, 1024 * 256, 1024 * 256, 256 * 10]
    group = gpu.ours.group(gpu.PAPER, gpu.TRAINING, data, range(2))
    assert gpu._operations(group) == 2 * 100 * (3 * sum(layers) - layers[0])


def test_it_needs_torch_and_numpy_alone_and_stops_without_a_gpu() -> None:
    heavy = ("ray", "mlflow", "pandas", "scipy", "sklearn", "pyarrow", "torchvision", "optuna", "pydantic")
    code = f"import sys, benchmarks.gpu; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    if not torch.cuda.is_available():
        done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, check=True)
        assert "skipped: torch sees no CUDA device" in done.stdout
