"""How many members to stack, and how to take their steps: measured on this device, once for each shape of network.

The choice changes how long training takes, and no number: a member has the same bits in any company.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vaetune.config import Configuration, canonical
from vaetune.datasets.batches import Pixels
from vaetune.training.choice import USUAL, Choice
from vaetune.training.group import Group, Split
from vaetune.training.memory import exhausted
from vaetune.training.seeds import Member

STEPS = 20
"""Steps of one member that a measurement takes; stacks take fewer, as each of theirs is that of many."""

GAIN = 1.1
"""How many times faster than the usual choice another one has to be: smaller differences are noise here."""


def shape(configuration: Configuration, image: Sequence[int], classes: int) -> str:
    """The name under which a choice is kept: the same for all whose steps take equally long.

    `image` is (C, H, W).
    """
    with torch.device("meta"):
        model = configuration.model.build(tuple(image), classes)
    layers = [[name, *p.shape] for name, p in model.named_parameters()]
    facts = [configuration.model.kind, layers, configuration.training.batch_size, bool(configuration.training.ema)]
    return "stack " + hashlib.sha256(canonical(facts).encode()).hexdigest()[:8]


def choose(
    member: Member, split: Split, pixels: Pixels, labels: Tensor, classes: int, device: str, most: int
) -> Choice:
    """The fastest way to train many members like this one, up to `most` in a stack; some milliseconds to a second.

    Trains copies of it on a few batches of its training images, and throws them away.
    """
    size = member.configuration.training.batch_size

    def group(choice: Choice) -> Group:
        steps = max(2, STEPS // choice.members)
        few = Split(split.train[: steps * size], split.targets[: steps * size], split.validation[:0])
        copies = [replace(member, id=f"{member.id}#{i}") for i in range(choice.members)]
        splits = [few] * choice.members
        return Group(copies, splits, pixels, labels, classes, device, route=choice.route)

    seconds = {choice: found for choice in _choices(device, most) if (found := _seconds(group, choice)) is not None}
    if not seconds:
        return USUAL
    usual = min(seconds, key=lambda choice: (choice.route != USUAL.route, abs(choice.members - USUAL.members)))
    best = min(seconds, key=lambda choice: seconds[choice])
    return best if seconds[usual] >= GAIN * seconds[best] else usual


def _choices(device: str, most: int) -> list[Choice]:
    sizes = sorted({min(size, most) for size in (1, USUAL.members, most)})
    routes = ("steps", "graph") if device.startswith("cuda") else ("steps",)
    return [Choice(size, route) for size in sizes for route in routes]


def _seconds(group: Callable[[Choice], Group], choice: Choice) -> float | None:
    """Seconds a step and member, the least of three epochs after one to warm up; None where memory does not suffice.

    On the CPU those of this thread: what else the machine does is not the network's.
    """
    try:
        made = group(choice)
        work = choice.members * math.ceil(made.train.shape[1] / made.training.batch_size)
        made.train_epoch()
        return min(_timed(made) for _ in range(3)) / work
    except (MemoryError, RuntimeError) as error:
        if not exhausted(error):
            raise
        return None


def _timed(group: Group) -> float:
    if group.device.type == "cuda":
        torch.cuda.synchronize(group.device)
        started = time.perf_counter()
        group.train_epoch()
        torch.cuda.synchronize(group.device)
        return time.perf_counter() - started
    started = time.thread_time()
    group.train_epoch()
    return time.thread_time() - started
