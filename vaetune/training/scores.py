"""A stack of models scored on each member's own validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from vaetune.evaluation import metrics
from vaetune.models.base import Classifier, Generative, Model
from vaetune.noise import Noise

Batch = tuple[Tensor, Tensor]
"""Images [R, B, C, H, W] in [0, 1] and labels [R, B]."""


def criterion(model: Model) -> str:
    """The score that early stopping follows; less is better."""
    return "val/nll" if isinstance(model, Classifier) else "val/loss"


def validate(model: Model, batches: Callable[[], Iterable[Batch]], noise: Noise) -> dict[str, Tensor]:
    """The scores [R]: a classifier's of its predictions; of any other, and of what decodes, the mean loss terms.

    What decodes has the squared error per pixel of its reconstructions without noise besides: the one score that
    compares decoders of different likelihoods. `batches` reads the images anew whenever it is called: there may be too
    many of them to keep.
    """
    found = _classified(model, batches()) if isinstance(model, Classifier) else {}
    if isinstance(model, Generative) or not isinstance(model, Classifier):
        found |= _mean_terms(model, batches(), noise)
    if isinstance(model, Generative):
        found["val/squared_error"] = _squared_error(model, batches())
    return found


def _classified(model: Classifier, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """At the posterior mean, dropout off."""
    parts = [(model.predict(x), y) for x, y in batches]
    logits, y = torch.cat([part for part, _ in parts], 1), torch.cat([part for _, part in parts], 1)
    temperature = metrics.temperature(logits, y)
    return {
        "val/error": metrics.error(logits, y),
        "val/nll": metrics.nll(logits, y),
        "val/nll_scaled": metrics.nll(logits / temperature[:, None, None], y),
        "val/temperature": temperature,
    }


def _mean_terms(model: Model, batches: Iterable[Batch], noise: Noise) -> dict[str, Tensor]:
    """At full penalty."""
    sums: dict[str, Tensor] = {}
    count = 0
    for x, y in batches:
        count += x.shape[1]
        for name, term in model.terms(x, y, noise).items():
            sums[f"val/{name}"] = sums.get(f"val/{name}", 0.0) + term.double().sum(-1)
    return {name: total / count for name, total in sums.items()}


def _squared_error(model: Generative, batches: Iterable[Batch]) -> Tensor:
    parts = [(model.decode(model.code(x, None, y).z, y) - x).double().square().mean((-3, -2, -1)) for x, y in batches]
    return torch.cat(parts, 1).mean(1)
