"""What the numbers were measured on: hardware, versions, load, and the ceilings of its arithmetic and its memory."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "ray", "optuna", "pythae", "lightning", "torchvision")


def describe() -> dict[str, Any]:
    """Hardware, versions and the load at this moment."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load": [round(x, 1) for x in os.getloadavg()],
    }


def ceilings() -> dict[str, float]:
    """One thread's best: float32 products by either route (GFLOP/s) and copies (GB/s, read plus written)."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out = {}
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        out[f"sgemm_{precision}_gflops"] = 2 * 1024**3 / median_cpu(lambda: torch.mm(a, b), 7) / 1e9
    source, target = torch.ones(32 * 2**20), torch.empty(32 * 2**20)
    out["copy_gb_per_s"] = 2 * source.nbytes / median_cpu(lambda: target.copy_(source), 7) / 1e9
    return {name: round(value, 1) for name, value in out.items()}


def median_cpu(work: Callable[[], Any], repeats: int) -> float:
    """The median CPU seconds of `work`, after one run to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
