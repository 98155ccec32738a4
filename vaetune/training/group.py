"""A group in training: R members of one architecture, one epoch at a time, on data that lives on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaetune.config import architecture
from vaetune.evaluation import metrics
from vaetune.models.base import Classifier, Model, initialise
from vaetune.noise import Noise
from vaetune.seeding import derive
from vaetune.training import members as stacked
from vaetune.training.adam import Adam
from vaetune.training.seeds import Member


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

    `images` is uint8 [N, C, H, W] and `labels` int64 [N], on `device`. Members leave the stack as they end.
    """

    def __init__(
        self,
        members: Sequence[Member],
        splits: Sequence[Split],
        images: Tensor,
        labels: Tensor,
        classes: int,
        device: str = "cpu",
    ) -> None:
        if len({architecture(m.configuration) for m in members}) != 1:
            raise ValueError("members of one group must share their architecture")
        self.members = list(members)
        self.device = torch.device(device)
        self.images, self.labels, self.classes = images, labels, classes
        self.training = members[0].configuration.training
        self.model = stacked.stack([self._fresh(member) for member in members])
        self.criterion = "val/nll" if isinstance(self.model, Classifier) else "val/loss"
        self.model.check(images, labels)
        self._splits(splits)
        weight_decay = [m.configuration.training.weight_decay for m in members]
        self.adam = Adam(self.model, self.training.beta1, self.training.beta2, weight_decay)
        self.ema = self._zeros() if self.training.ema else None
        self.best = [Best() for _ in members]
        self.ended: dict[str, dict[str, Tensor]] = {}
        self.epoch = 0

    def _fresh(self, member: Member) -> Model:
        model = member.configuration.model.build(tuple(self.images.shape[1:]), self.classes)
        initialise(model, member.seeds.initial)
        return model.to(self.device)

    def _splits(self, splits: Sequence[Split]) -> None:
        self.train = torch.stack([s.train for s in splits]).to(self.device)
        self.targets = torch.stack([s.targets for s in splits]).to(self.device)
        self.validation = torch.stack([s.validation for s in splits]).to(self.device)

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p) for p in self.model.parameters()]

    def run_epoch(self) -> list[Progress]:
        """Trains one epoch, scores it on validation, and drops the members that end with it."""
        present = [m.id for m in self.members]
        sums, first_bad = self.train_epoch()
        self.epoch += 1
        training = {name: total.tolist() for name, total in sums.items()}
        progress = [
            Progress(id, self.epoch, {f"train/{n}": v[r] for n, v in training.items()}) for r, id in enumerate(present)
        ]
        for row, scores in zip(progress, self.validate(), strict=True):
            row.metrics |= scores
        for r, (row, bad) in enumerate(zip(progress, first_bad.tolist(), strict=True)):
            self._judge(r, row, bad)
            if row.outcome == "finished":
                self.ended[row.id] = self.weights(r)
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
        with self._scored():
            return {name: p[r].detach().clone() for name, p in self.model.named_parameters()}

    @contextmanager
    def _scored(self) -> Iterator[None]:
        """Lends the model the averaged weights, zero-debiased as in Kingma & Ba (2015, §3), while it is scored."""
        if self.ema is None:
            yield
            return
        live = [p.data for p in self.model.parameters()]
        debias = 1 - self.training.ema**self.adam.steps
        for p, average in zip(self.model.parameters(), self.ema, strict=True):
            p.data = average / debias
        try:
            yield
        finally:
            for p, data in zip(self.model.parameters(), live, strict=True):
                p.data = data

    def keep(self, stay: Sequence[int]) -> None:
        """Drops all members but those: the stack shrinks, the others' numbers do not change."""
        if len(stay) == len(self.members):
            return
        self.members = [self.members[r] for r in stay]
        if not stay:
            return
        index = torch.tensor(stay, device=self.device)
        stacked.keep(self.model, stay)
        self.adam.keep(self.model, stay)
        self.train, self.targets, self.validation = (t[index] for t in (self.train, self.targets, self.validation))
        self.ema = [e[index] for e in self.ema] if self.ema is not None else None
        self.best = [self.best[r] for r in stay]

    def state(self, r: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a member needs to go on exactly: plain numbers, and tensors by name."""
        best = self.best[r]
        tensors = {
            f"live.{name}": p[r].detach().clone() for name, p in self.model.named_parameters()
        } | self.adam.state(r)
        if self.ema is not None:
            names = [name for name, _ in self.model.named_parameters()]
            tensors |= {f"ema.{name}": e[r].clone() for name, e in zip(names, self.ema, strict=True)}
        tensors |= {f"best.{name}": w for name, w in best.weights.items()}
        numbers = {"epoch": self.epoch, "steps": self.adam.steps, "best_epoch": best.epoch, "best_scores": best.scores}
        return numbers, tensors

    @torch.no_grad()
    def load(self, states: Sequence[tuple[Mapping[str, Any], Mapping[str, Tensor]]]) -> None:
        """The inverse of `state`, for all members, which must stand at the same epoch."""
        if len({numbers["epoch"] for numbers, _ in states}) != 1:
            raise ValueError("members of one group resume at one epoch")
        for r, (numbers, tensors) in enumerate(states):
            for i, (name, p) in enumerate(self.model.named_parameters()):
                p[r].copy_(tensors[f"live.{name}"])
                if self.ema is not None:
                    self.ema[i][r].copy_(tensors[f"ema.{name}"])
            self.adam.load(r, tensors, numbers["steps"])
            scores = dict(numbers["best_scores"])
            weights = {name.removeprefix("best."): w for name, w in tensors.items() if name.startswith("best.")}
            self.best[r] = Best(scores.get(self.criterion, math.inf), numbers["best_epoch"], scores, weights)
        self.epoch = states[0][0]["epoch"]

    def train_epoch(self) -> tuple[dict[str, Tensor], Tensor]:
        """One pass over the images: the mean of each loss term [R], the first step [R] that was not finite (or −1)."""
        t, size = self.training, self.training.batch_size
        order = torch.stack([self._permutation(member) for member in self.members])
        index, targets = self.train.gather(1, order), self.targets.gather(1, order)
        noise = Noise([self._generator(m.seeds.noise) for m in self.members])
        rate = t.learning_rate_decay ** (self.epoch // t.decay_every)
        rates = [m.configuration.training.learning_rate * rate for m in self.members]
        warm = min(1.0, (self.epoch + 1) / t.penalty_warmup) if t.penalty_warmup else 1.0
        sums: dict[str, Tensor] = {}
        first_bad = torch.full((len(self.members),), -1, device=self.device)
        parameters = [p.detach() for p in self.model.parameters()]
        for step, start in enumerate(range(0, index.shape[1], size)):
            batch = index[:, start : start + size]
            terms = self.model.terms(self._pixels(batch), targets[:, start : start + size], noise, warm)
            loss = terms["loss"].mean(-1)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            self.adam.step(rates)
            if self.ema is not None:
                torch._foreach_lerp_(self.ema, parameters, 1 - t.ema)
            with torch.no_grad():
                for name, term in terms.items():
                    sums[name] = sums.get(name, 0.0) + term.sum(-1)
                first_bad = torch.where((first_bad < 0) & ~loss.isfinite(), step, first_bad)
        return {name: total / index.shape[1] for name, total in sums.items()}, first_bad

    def _permutation(self, member: Member) -> Tensor:
        generator = self._generator(member.seeds.order, "cpu")
        return torch.randperm(self.train.shape[1], generator=generator).to(self.device)

    def _generator(self, seed: int, device: str | None = None) -> torch.Generator:
        """A stream for this epoch: an epoch is a function of weights, moments and its number, so resuming is exact."""
        return torch.Generator(device or self.device).manual_seed(derive(f"{seed}/{self.epoch}"))

    def _pixels(self, index: Tensor) -> Tensor:
        """Images [R, B, C, H, W] in [0, 1]."""
        return self.images[index].float().mul_(1 / 255)

    def validate(self) -> list[dict[str, float]]:
        """The scores of every member on its own validation images, of the weights that would be reported."""
        if not self.validation.shape[1]:
            return [{} for _ in self.members]
        with self._scored(), torch.inference_mode():
            batches = self.validation.split(1000, 1)  # type: ignore[no-untyped-call]
            rows = self._classified(batches) if isinstance(self.model, Classifier) else self._mean_terms(batches)
        columns = {name: values.tolist() for name, values in rows.items()}
        return [{name: values[r] for name, values in columns.items()} for r in range(len(self.members))]

    def _classified(self, batches: Sequence[Tensor]) -> dict[str, Tensor]:
        """The scores [R] of predictions at the posterior mean, dropout off."""
        assert isinstance(self.model, Classifier)
        logits = torch.cat([self.model.predict(self._pixels(b)) for b in batches], 1)
        y = self.labels[self.validation]
        temperature = metrics.temperature(logits, y)
        return {
            "val/error": metrics.error(logits, y),
            "val/nll": metrics.nll(logits, y),
            "val/nll_scaled": metrics.nll(logits / temperature[:, None, None], y),
            "val/temperature": temperature,
        }

    def _mean_terms(self, batches: Sequence[Tensor]) -> dict[str, Tensor]:
        """The means [R] of the loss terms at full penalty; a member's noise is the same after every epoch."""
        noise = Noise([torch.Generator(self.device).manual_seed(derive(f"{m.seeds.noise}/val")) for m in self.members])
        sums: dict[str, Tensor] = {}
        for batch in batches:
            for name, term in self.model.terms(self._pixels(batch), self.labels[batch], noise).items():
                sums[f"val/{name}"] = sums.get(f"val/{name}", 0.0) + term.double().sum(-1)
        return {name: total / self.validation.shape[1] for name, total in sums.items()}
