"""`python -m benchmarks.gpu`: the paper's network on a GPU, R members in a stack, step by step and as a CUDA graph.

Needs torch and numpy alone, and stops with a word where there is no GPU. TF32 and bfloat16 products are routes of
their own, named as such; the rest is float32. The share is that of a floor: the products' operations at this GPU's best
rate for them, and the bytes that Adam has to move at the rate of its copies.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import ours
from vaetune.config import TrainingConfig
from vaetune.datasets.base import Images
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.networks import Linear
from vaetune.training import routes
from vaetune.training.group import Group

PAPER = SupervisedVAEConfig(trunk=(1024, 1024), latents=256, bottleneck="gaussian", beta=1e-3, initial_sigma=0.006715)
TRAINING = TrainingConfig(batch_size=100, learning_rate=1e-4, beta1=0.5)

ROUTES = {
    "step by step": ("steps", "float32"),
    "graph": ("graph", "float32"),
    "graph, TF32": ("graph", "tf32"),
    "graph, bfloat16": ("graph", "bf16"),
}

ADAM_BYTES = 7 * 4
"""Read and written for each parameter: the weight, two moments, and the gradient, which is only read."""


def images(count: int) -> Images:
    """Grey noise of MNIST's shape: speed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8), np.arange(count) % 10)


def made(name: str, members: int, data: Images) -> Group:
    """A group on the GPU that trains by that route."""
    route, precision = ROUTES[name]
    return ours.group(PAPER, replace(TRAINING, precision=precision), data, range(members), "cuda", route)


def difference(data: Images) -> float:
    """The largest one between the two float32 routes after two epochs, relative to the largest weight."""
    groups = [made(name, 3, data) for name in ("step by step", "graph")]
    for group in groups:
        ours.epoch(group)
        ours.epoch(group)
    pairs = zip(*(group.model.parameters() for group in groups), strict=True)
    return float(max((a - b).detach().abs().max() / a.detach().abs().max() for a, b in pairs))


def measure(sizes: Sequence[int], count: int, rounds: int) -> list[dict[str, Any]]:
    """Every route at every R: seconds an epoch, members (of one epoch each) per second, and against R runs of one."""
    data, rows = images(count), []
    best = {precision: _products(precision) for _, precision in ROUTES.values()}
    copies = _copies()
    alone: dict[str, float] = {}
    for members in sizes:
        for name, (_, precision) in ROUTES.items():
            group = made(name, members, data)
            seconds = _seconds(lambda group=group: ours.epoch(group), rounds)  # type: ignore[misc]
            alone.setdefault(name, seconds / members)
            steps = -(-count // TRAINING.batch_size) * members
            parameters = sum(p[0].numel() for p in group.model.parameters())
            floor = steps * (_operations(group) / best[precision] + ADAM_BYTES * parameters / copies)
            rows.append(
                {
                    "route": name,
                    "R": members,
                    "seconds_an_epoch": seconds,
                    "members_per_second": members / seconds,
                    f"times_R_{sizes[0]}_one_after_the_other": alone[name] * members / seconds,
                    "share_of_floor": floor / seconds,
                    "finite": all(bool(p.isfinite().all()) for p in group.model.parameters()),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _operations(group: Group) -> int:
    """Multiplications and additions of one member's products in one step; the first layer has no gradient below."""
    sizes = [m.weight[0].numel() for m in group.model.modules() if isinstance(m, Linear)]
    return 2 * group.training.batch_size * (3 * sum(sizes) - sizes[0])


def _products(precision: str) -> float:
    """Operations a second of large products."""
    a, b = torch.randn(8192, 8192, device="cuda"), torch.randn(8192, 8192, device="cuda")
    with routes.products(precision):
        return 2 * 8192**3 / _seconds(lambda: a @ b, 5)


def _copies() -> float:
    """Bytes a second, read and written."""
    source = torch.zeros(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: target.copy_(source), 5)


def main() -> int:
    """Checks, measures where there is a GPU, prints one JSON line a row; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--members", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(json.dumps({"torch": torch.__version__, "python": sys.version.split()[0]}))
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device")
        return 0
    routes.configure()
    off = difference(images(1_050))
    print(json.dumps({"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "graph_against_steps": off}))
    if off > 1e-5:
        print("the graph's numbers are not those of its steps", file=sys.stderr)
        return 1
    measure(given.members, given.images, given.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
