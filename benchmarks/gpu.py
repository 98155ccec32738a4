"""`python -m benchmarks.gpu`: members per second on a GPU, step by step, compiled, and with the step as a CUDA graph.

Needs torch and numpy alone. Without a GPU it checks on the CPU that the step it would capture is the engine's, and
says why it stops there. TF32 and bfloat16 are routes of their own, named as such; the rest is float32.
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
from torch import Tensor

from benchmarks import ours
from vaetune.config import TrainingConfig
from vaetune.datasets.base import Images
from vaetune.datasets.batches import unit
from vaetune.models.configs import SupervisedVAEConfig
from vaetune.networks import Linear
from vaetune.noise import Noise
from vaetune.training.group import Group

PAPER = SupervisedVAEConfig(trunk=(1024, 1024), latents=256, bottleneck="gaussian", beta=1e-3, initial_sigma=0.006715)
TRAINING = TrainingConfig(batch_size=100, learning_rate=1e-4, beta1=0.5)


class DeviceNoise(Noise):
    """Draws for all members in one kernel, from the device's own generator, which a CUDA graph can replay."""

    def __init__(self, members: int, device: torch.device) -> None:
        self.members, self.device = members, device

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draws of N(0, 1)."""
        return torch.randn(self.members, *shape, device=self.device)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Draws of U[0, 1)."""
        return torch.rand(self.members, *shape, device=self.device)


class Step:
    """One training step of a group on fixed buffers: nothing in it asks the host, so that it can be captured."""

    def __init__(self, group: Group, bf16: bool = False) -> None:
        self.group, self.bf16 = group, bf16
        size, members = group.training.batch_size, len(group.members)
        self.index = group.train[:, :size].clone()
        self.targets = group.targets[:, :size].clone()
        self.noise = DeviceNoise(members, group.device)
        self.parameters = list(group.model.parameters())
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.count = torch.zeros((), device=group.device)
        self.losses = torch.zeros(members, device=group.device)

    def __call__(self) -> None:
        """Gather, forward, backward, Adam."""
        group = self.group
        (images,) = group.pixels.batches(self.index, group.training.batch_size)
        with torch.autocast(group.device.type, torch.bfloat16, enabled=self.bf16):
            terms = group.model.terms(unit(images), self.targets, self.noise, 1.0)
        loss = terms["loss"].float().mean(-1)
        grads = list(torch.autograd.grad(loss.sum(), self.parameters))
        self.count.add_(1)
        with torch.no_grad():
            torch._fused_adamw_(
                [p.detach() for p in self.parameters], grads, self.first, self.second, [],
                [self.count] * len(grads), lr=group.members[0].configuration.training.learning_rate,
                beta1=group.training.beta1, beta2=group.training.beta2, weight_decay=0.0, eps=1e-8, amsgrad=False,
                maximize=False,
            )  # fmt: skip
            self.losses.add_(loss.detach())


def captured(step: Step) -> Callable[[], None]:
    """The step as a CUDA graph, after three steps to warm up on a stream of their own."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def epoch(step: Step, run: Callable[[], None]) -> None:
    """One pass in a fresh order of every member, over whole batches."""
    group, size = step.group, step.group.training.batch_size
    order = torch.rand(group.train.shape, device=group.device).argsort(1)
    index, targets = group.train.gather(1, order), group.targets.gather(1, order)
    for start in range(0, index.shape[1] - size + 1, size):
        step.index.copy_(index[:, start : start + size])
        step.targets.copy_(targets[:, start : start + size])
        run()


def images(count: int) -> Images:
    """Grey noise of MNIST's shape: speed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8), np.arange(count) % 10)


def self_check() -> float:
    """The largest difference, relative to the largest weight, between this step and the engine's, on the CPU."""
    plain = replace(PAPER, trunk=(32,), latents=8, bottleneck="deterministic", beta=1.0)
    data, training = images(40), replace(TRAINING, batch_size=40)
    engine, mine = (ours.group(plain, training, data, range(3)) for _ in range(2))
    engine.train_epoch()
    step = Step(mine)
    step()
    pairs = list(zip(engine.model.parameters(), mine.model.parameters(), strict=True))
    return float(max((a - b).detach().abs().max() / a.detach().abs().max() for a, b in pairs))


def measure(sizes: Sequence[int], count: int, rounds: int) -> list[dict[str, Any]]:
    """Every route at every R: seconds an epoch, members (of one epoch each) per second, arithmetic per second."""
    data, rows = images(count), []
    for members in sizes:
        for tf32 in (False, True):
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
            for route in ("eager", "graph", "graph bf16", "compiled"):
                if tf32 and route == "graph bf16":
                    continue
                group = ours.group(PAPER, TRAINING, data, range(members), "cuda")
                step = Step(group, bf16=route == "graph bf16")
                run: Callable[[], None] = step
                if route.startswith("graph"):
                    run = captured(step)
                elif route == "compiled":
                    compiled = torch.compile(group.model.terms, mode="max-autotune-no-cudagraphs")
                    group.model.terms = compiled  # type: ignore[method-assign]
                seconds = _seconds(lambda step=step, run=run: epoch(step, run), rounds)  # type: ignore[misc]
                work = _operations(group) * members * (count // TRAINING.batch_size)
                rows.append(
                    {
                        "route": route + (" TF32" if tf32 else ""),
                        "R": members,
                        "seconds_an_epoch": seconds,
                        "members_per_second": members / seconds,
                        "tflops": work / seconds / 1e12,
                        "finite": bool(step.losses.isfinite().all()),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    return rows


def _seconds(work: Callable[[], None], rounds: int) -> float:
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


def main() -> int:
    """Checks, measures where there is a GPU, prints one JSON line a row; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--members", type=int, nargs="*", default=[1, 16, 64, 256])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    off = self_check()
    print(json.dumps({"self_check": off, "torch": torch.__version__, "python": sys.version.split()[0]}))
    if off > 1e-5:
        print("the step measured here is not the engine's", file=sys.stderr)
        return 1
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device; only the self-check was run")
        return 0
    print(json.dumps({"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}))
    measure(given.members, given.images, given.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
