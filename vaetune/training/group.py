"""A group in training: R members of one architecture, one epoch at a time, on data that lives on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaetune.config import architecture
from vaetune.datasets.batches import Pixels, unit
from vaetune.errors import UserError
from vaetune.models.base import Model, Stage, initialise
from vaetune.noise import Noise
from vaetune.normalisation import learning
from vaetune.seeding import derive
from vaetune.training import members as stacked
from vaetune.training import pretrained, routes, scores, turns
from vaetune.training.average import Average
from vaetune.training.schedule import Schedule
from vaetune.training.seeds import Member
from vaetune.training.steps import Captured, CudaGraphs, Step, Steps
from vaetune.training.turns import Turns


@dataclass(frozen=True)
class Split:
    """One member's part of the pool: indices of training images, their (possibly noisy) labels, validation indices."""

    train: Tensor
    targets: Tensor
    validation: Tensor


@dataclass
class Progress:
    """Where a member stands after an epoch: its metrics, and `outcome` once it has ended (finished or failed)."""

    id: str
    epoch: int
    metrics: dict[str, float]
    outcome: str = ""
    reason: str = ""


@dataclass
class Best:
    """The best epoch of a member that stops early: its validation scores and the weights that earned them."""

    score: float = math.inf
    epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)


class Group:
    """Trains members that share architecture, data pool and device; the same numbers whoever trains beside whom.

    `pixels` gives images [C, H, W] on `device`, and `labels` is int64 [N] there. Members leave the stack as they end.
    `weights`, by what `training.pretrained` calls them, are of models to begin from; None begins anew whatever it says.
    `route` "graph" captures the step as a CUDA graph, see `steps.Captured`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        splits: Sequence[Split],
        pixels: Pixels,
        labels: Tensor,
        classes: int,
        device: str = "cpu",
        weights: Mapping[str, Mapping[str, Tensor]] | None = None,
        route: str = "steps",
    ) -> None:
        if len({architecture(m.configuration) for m in members}) != 1:
            raise ValueError("members of one group must share their architecture")
        self.members = list(members)
        self.device = torch.device(device)
        self.given, self.route = weights, route
        self.pixels, self.labels, self.classes = pixels, labels, classes
        self.training = members[0].configuration.training
        self.model = stacked.stack([self._fresh(member) for member in members])
        self.criterion = scores.criterion(self.model)
        self.model.check(torch.empty(0, *pixels.shape[1:]), labels)  # no image is read to learn their shape
        self._check_stages()
        self._splits(splits)
        self.epoch = self.steps = 0
        self.turns = self._turns()
        self.schedule = Schedule(self.training, len(members))
        self.average = Average(self.model, self.training.ema)
        self.best = [Best() for _ in members]
        self.ended: dict[str, dict[str, Tensor]] = {}
        self._streams: dict[str, torch.Generator] = {}
        self._captured: tuple[tuple[Sequence[float], float], Captured] | None = None
        self.states: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {}

    def _fresh(self, member: Member) -> Model:
        model = member.configuration.model.build(self.pixels.shape[1:], self.classes)
        initialise(model, member.seeds.initial)
        source = member.configuration.training.pretrained
        if source and self.given is not None:
            pretrained.load(model, self.given[source], member.configuration.training.pretrained_parts, source)
        return model.to(self.device)

    def _splits(self, splits: Sequence[Split]) -> None:
        self.train = torch.stack([s.train for s in splits]).to(self.device)
        self.targets = torch.stack([s.targets for s in splits]).to(self.device)
        self.validation = torch.stack([s.validation for s in splits]).to(self.device)

    def _check_stages(self) -> None:
        if len(self.model.stages) > self.training.epochs:
            raise UserError(
                f"training.epochs = {self.training.epochs}: each of {len(self.model.stages)} stages needs one"
            )
        if len(self.model.stages) > 1 and self.training.patience:
            raise UserError("training.patience follows one score, but this model trains in stages: leave it at 0")

    def _stage(self) -> Stage:
        """The stage that the next epoch belongs to."""
        return self.model.stages[turns.current(self.model.stages, self.epoch, self.training.epochs)]

    def _turns(self) -> Turns:
        weight_decay = [m.configuration.training.weight_decay for m in self.members]
        return Turns(self.model, self._stage(), self.training, weight_decay)

    def run_epoch(self) -> list[Progress]:
        """Trains one epoch, scores it on validation, and drops the members that end with it."""
        present = [m.id for m in self.members]
        means, first_bad = self.train_epoch()
        self.epoch += 1
        if self.epoch < self.training.epochs and self._stage() is not self.turns.stage:
            self.turns, self._captured = self._turns(), None
        training = {name: mean.tolist() for name, mean in means.items()}
        progress = [
            Progress(id, self.epoch, {f"train/{n}": v[r] for n, v in training.items()}) for r, id in enumerate(present)
        ]
        for row, found in zip(progress, self.validate(), strict=True):
            row.metrics |= found
        for r, (row, bad) in enumerate(zip(progress, first_bad.tolist(), strict=True)):
            self._judge(r, row, bad)
            if self.criterion in row.metrics:
                self.schedule.see(r, row.metrics[self.criterion])
            if row.outcome == "finished":
                self.ended[row.id] = self.weights(r)
                if not row.reason:  # at its whole length: it could be trained on, as who stopped early could not
                    self.states[row.id] = self.state(r)
        self.keep([r for r, row in enumerate(progress) if not row.outcome])
        return progress

    def _judge(self, r: int, row: Progress, first_bad: int) -> None:
        """Follows the best epoch where the member stops early, and says whether it has ended."""
        if first_bad >= 0:
            step = (self.epoch - 1) * math.ceil(self.train.shape[1] / self.training.batch_size) + first_bad
            row.outcome, row.reason = "failed", f"diverged: loss not finite at step {step} (epoch {self.epoch})"
            return
        if not all(map(math.isfinite, row.metrics.values())):
            row.outcome, row.reason = "failed", f"diverged: scores not finite after epoch {self.epoch}"
            return
        if self.training.patience:
            best = self.best[r]
            if row.metrics[self.criterion] < best.score:
                scores = {name: value for name, value in row.metrics.items() if name.startswith("val/")}
                best = self.best[r] = Best(row.metrics[self.criterion], self.epoch, scores, self._scored_weights(r))
            row.metrics |= best.scores | {"best/epoch": float(best.epoch)}
            if self.epoch - best.epoch >= self.training.patience:
                row.outcome, row.reason = "finished", f"no better {self.criterion} since epoch {best.epoch}"
        if self.epoch >= self.training.epochs:
            row.outcome = "finished"

    def weights(self, r: int) -> dict[str, Tensor]:
        """The scored weights of a member still here: averages if the study averages, with patience the best."""
        return self.best[r].weights or self._scored_weights(r)

    def _scored_weights(self, r: int) -> dict[str, Tensor]:
        with self.average.lent(self.model, self.steps):
            return {name: tensor[r].clone() for name, tensor in self.model.state_dict().items()}

    def keep(self, stay: Sequence[int]) -> None:
        """Drops all members but those: the stack shrinks, the others' numbers do not change."""
        if len(stay) == len(self.members):
            return
        self.members = [self.members[r] for r in stay]
        if not stay:
            return
        index = torch.tensor(stay, device=self.device)
        self._captured = None  # what it has captured is the whole stack
        stacked.keep(self.model, stay)
        self.turns.keep(self.model, stay)
        self.schedule.keep(stay)
        self.train, self.targets, self.validation = (t[index] for t in (self.train, self.targets, self.validation))
        self.average.keep(self.model, index)
        self.best = [self.best[r] for r in stay]

    def state(self, r: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a member needs to go on exactly: plain numbers, and tensors by name."""
        best = self.best[r]
        turns, moments = self.turns.state(r)
        tensors = {f"live.{name}": tensor[r].clone() for name, tensor in self.model.state_dict().items()} | moments
        tensors |= self.average.state(r)
        tensors |= {f"best.{name}": w for name, w in best.weights.items()}
        numbers = {"epoch": self.epoch, "steps": self.steps, "turns": turns, "schedule": self.schedule.state(r)}
        return numbers | {"best_epoch": best.epoch, "best_scores": best.scores}, tensors

    @torch.no_grad()
    def load(self, states: Sequence[tuple[Mapping[str, Any], Mapping[str, Tensor]]]) -> None:
        """The inverse of `state`, for all members, which must stand at the same epoch."""
        if len({numbers["epoch"] for numbers, _ in states}) != 1:
            raise ValueError("members of one group resume at one epoch")
        self.epoch, self.steps = (states[0][0][name] for name in ("epoch", "steps"))
        self.turns, self._captured = self._turns(), None
        for r, (numbers, tensors) in enumerate(states):
            for name, tensor in self.model.state_dict().items():
                tensor[r].copy_(tensors[f"live.{name}"])
            self.average.load(r, tensors)
            self.turns.load(r, numbers["turns"], tensors)
            self.schedule.load(r, numbers["schedule"])
            scores = dict(numbers["best_scores"])
            weights = {name.removeprefix("best."): w for name, w in tensors.items() if name.startswith("best.")}
            self.best[r] = Best(scores.get(self.criterion, math.inf), numbers["best_epoch"], scores, weights)

    def train_epoch(self) -> tuple[dict[str, Tensor], Tensor]:
        """One pass over the images: the mean of each loss term [R], the first step [R] that was not finite (or −1)."""
        on_device = torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
        with learning(self.model), routes.products(self.training.precision), on_device:
            return self._train_epoch()

    def _train_epoch(self) -> tuple[dict[str, Tensor], Tensor]:
        size = self.training.batch_size
        order = torch.stack([self._permutation(member) for member in self.members])
        index, targets = self.train.gather(1, order), self.targets.gather(1, order)
        steps = self._steps()
        self.turns.give(self.model)
        seen: dict[str, list[Tensor]] = {}
        losses: list[Tensor] = []
        labelled = targets.split(size, 1)  # type: ignore[no-untyped-call]
        for images, y in zip(self.pixels.batches(index, size), labelled, strict=True):
            terms, loss = steps(images, y)
            losses.append(loss)
            for name, values in terms.items():
                seen.setdefault(name, []).append(values)
            self.steps += 1
        # Reduced here and not step by step: small operations cost more than their numbers.
        means = {name: torch.cat(parts, 1).mean(1) for name, parts in seen.items()}
        return means, _first_bad(torch.cat(losses), self.turns.plays)

    def _steps(self) -> Steps:
        """The steps of the coming epoch; a graph is kept for as long as what it has captured holds."""
        t = self.training
        noise = [self._stream(member) for member in self.members]
        factors = self.schedule.factors(self.epoch)
        rates = tuple(m.configuration.training.learning_rate * f for m, f in zip(self.members, factors, strict=True))
        warm = min(1.0, (self.epoch + 1) / t.penalty_warmup) if t.penalty_warmup else 1.0
        if self.route != "graph":
            return self._step(noise, rates, warm)
        if self._captured is None or self._captured[0] != (rates, warm):
            self._captured = (rates, warm), Captured(self._step(noise, rates, warm), CudaGraphs(noise))
        return self._captured[1]

    def _step(self, noise: Sequence[torch.Generator], rates: Sequence[float], warm: float) -> Step:
        return Step(self.model, self.turns, Noise(noise), rates, warm, self.average.follow)

    def _permutation(self, member: Member) -> Tensor:
        generator = torch.Generator().manual_seed(derive(f"{member.seeds.order}/{self.epoch}"))
        return torch.randperm(self.train.shape[1], generator=generator).to(self.device)

    def _stream(self, member: Member) -> torch.Generator:
        """The member's noise for this epoch, from a generator of its own, which a graph knows by its identity.

        An epoch is a function of weights, moments and its number, so resuming is exact.
        """
        generator = self._streams.setdefault(member.id, torch.Generator(self.device))
        return generator.manual_seed(derive(f"{member.seeds.noise}/{self.epoch}"))

    def validate(self) -> list[dict[str, float]]:
        """The scores of every member on its own validation images, of the weights that would be reported."""
        if not self.validation.shape[1]:
            return [{} for _ in self.members]
        with self.average.lent(self.model, self.steps), torch.inference_mode():
            seeds = [derive(f"{m.seeds.noise}/val") for m in self.members]  # the same noise after every epoch
            noise = Noise([torch.Generator(self.device).manual_seed(seed) for seed in seeds])
            rows = scores.validate(self.model, self._held_out, noise)
        columns = {name: values.tolist() for name, values in rows.items()}
        return [{name: values[r] for name, values in columns.items()} for r in range(len(self.members))]

    def _held_out(self) -> Iterator[scores.Batch]:
        parts = self.validation.split(1000, 1)  # type: ignore[no-untyped-call]
        for images, part in zip(self.pixels.batches(self.validation, 1000), parts, strict=True):
            yield unit(images), self.labels[part]


def _first_bad(losses: Tensor, plays: int) -> Tensor:
    """The first step [R] whose loss in `losses` [steps · plays, R] is not finite, −1 where all are."""
    last = len(losses)
    turn = torch.arange(last, device=losses.device).unsqueeze(1)
    first = torch.where(losses.isfinite(), last, turn).min(0).values
    return torch.where(first < last, first // plays, -1)
