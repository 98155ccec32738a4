"""Cold starts: what a user and a worker wait for before anything happens."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time

from benchmarks.timing import Rows

COMMANDS = {
    "import vaetune": ["-c", "import vaetune"],
    "--help": ["-m", "vaetune.study", "--help"],
    "--plan of the centrepiece": ["-m", "vaetune.study", "regularizer_ablation", "--plan"],
    "a worker's imports": ["-c", "import vaetune.study.trainable"],
    "import torch alone": ["-c", "import torch"],
}

HEAVY = ("mlflow", "torchvision", "plotly", "optuna", "pandas", "sklearn", "scipy")


def starts(rounds: int) -> Rows:
    """Seconds of each command in a process of its own, in turns; and what a worker should not import but does."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            seen[name].append(_run(command))
    rows: Rows = [
        {
            "case": "cold start",
            "route": name,
            "cpu_seconds": statistics.median(cpu for cpu, _ in times),
            "wall_seconds": statistics.median(wall for _, wall in times),
        }
        for name, times in seen.items()
    ]
    code = f"import sys, vaetune.study.trainable; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [*rows, {"case": "heavy imports of a worker", "route": done.stdout.strip() or "none"}]


def _run(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of a process and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - started
