"""What one batch does to a stack: operation by operation, or on a GPU captured once and replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vaetune.datasets.batches import unit
from vaetune.models.base import Model
from vaetune.noise import Noise
from vaetune.training.turns import Turns

Taken = tuple[dict[str, Tensor], Tensor]
"""What a step gives: each loss term [R, plays · B] by name, and the losses [plays, R]."""


class Steps(Protocol):
    """Takes the step of one batch after the other: images uint8 [R, B, C, H, W] and labels int64 [R, B]."""

    def __call__(self, images: Tensor, y: Tensor) -> Taken: ...


@dataclass(frozen=True)
class Step:
    """Every player of a stage in turn: loss, gradients, update. Nothing in it waits for the device.

    `rates` are the members' learning rates, `warm` the share of the penalty that applies, and `after` follows the
    updates.
    """

    model: Model
    turns: Turns
    noise: Noise
    rates: Sequence[float]
    warm: float
    after: Callable[[], None]

    def __call__(self, images: Tensor, y: Tensor) -> Taken:
        x = unit(images)
        seen: dict[str, list[Tensor]] = {}
        losses = []
        for player, adam in self.turns:
            if not self.turns.alone:
                self.turns.give(self.model, player)
            terms = getattr(self.model, player.terms)(x, y, self.noise, self.warm)
            loss = terms["loss"].mean(-1)
            loss.sum().backward()  # a gradient given as a tensor would have torch import sympy, for seconds
            adam.step([rate * player.rate for rate in self.rates])
            losses.append(loss.detach())
            for term, values in terms.items():
                name = f"{player.name}_{term}" if player.name else term
                seen.setdefault(name, []).append(values.detach())
        self.after()
        together = {name: parts[0] if len(parts) == 1 else torch.cat(parts, 1) for name, parts in seen.items()}
        return together, torch.stack(losses)


class Captured:
    """A step that is recorded once and replayed: its kernels start at once, where Python starting them takes the time.

    The first steps are taken operation by operation, so that libraries allocate what they need, and so is a last batch
    of another size. Kernels, random streams and order are those of `step`, and so are the numbers. What `step` holds
    must not change while this is used.
    """

    WARM = 3

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._taken = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, images: Tensor, y: Tensor) -> Taken:
        if not self._taken:
            self._images, self._y = images.clone(), y.clone()
        if images.shape != self._images.shape:
            return self._step(images, y)
        self._taken += 1
        self._images.copy_(images)
        self._y.copy_(y)
        if self._taken <= self.WARM:
            self._recorder.aside(self._work)
        else:
            self._replay = self._replay or self._recorder.record(self._work)
            self._replay()
        terms = self._numbers.clone().split(self._widths, 1)  # type: ignore[no-untyped-call]
        return dict(zip(self._names, terms, strict=True)), self._losses.clone()

    def _work(self) -> None:
        terms, self._losses = self._step(self._images, self._y)
        self._numbers = torch.cat([*terms.values()], 1)  # one copy a step instead of one a term
        self._names, self._widths = [*terms], [term.shape[1] for term in terms.values()]


class Recorder(Protocol):
    """Records work on fixed memory."""

    def aside(self, work: Callable[[], None]) -> None:
        """Does it where it will be recorded, so that it can be."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does it again; recording itself does nothing to the memory."""


class CudaGraphs:
    """Recorded as CUDA graphs; `generators` are all that the work draws random numbers from."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def aside(self, work: Callable[[], None]) -> None:
        """See `Recorder`; on the stream that is captured later, as PyTorch asks for."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        # Other threads of this process may train on other GPUs meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay
