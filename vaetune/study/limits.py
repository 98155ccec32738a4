"""The values that a setting may have; types are checked where values come in, ranges here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vaetune.config import flatten
from vaetune.errors import UserError


class Limit(NamedTuple):
    """A range in words and as a predicate."""

    text: str
    holds: Callable[[float], bool]


_LARGEST = 2**31 - 1  # the tables hold counts as int32
COUNT = Limit("at least 1", lambda v: 1 <= v <= _LARGEST)
NATURAL = Limit("at least 0", lambda v: 0 <= v <= _LARGEST)
POSITIVE = Limit("greater than 0", lambda v: v > 0)
NONNEGATIVE = Limit("at least 0", lambda v: v >= 0)
SHARE = Limit("between 0 and 1", lambda v: 0 <= v <= 1)
BELOW_ONE = Limit("at least 0 and below 1", lambda v: 0 <= v < 1)
FACTOR = Limit("at least 2", lambda v: 2 <= v <= _LARGEST)


STUDY = {
    "margin": POSITIVE,
    "budget.trials": COUNT,
    "budget.audit": NATURAL,
    "budget.grace": COUNT,
    "budget.reduction": FACTOR,
    "budget.top_k": COUNT,
    "budget.reseeds": COUNT,
    "budget.searches": COUNT,
    "budget.max_failures": SHARE,
    "budget.stall": POSITIVE,
    "replication.n": COUNT,
    "replication.samples": COUNT,
    "replication.ais": NATURAL,
    "replication.extra_epochs": NATURAL,
    "resources.cpus": POSITIVE,
    "resources.gpus": NONNEGATIVE,
}
CONFIGURATION = {
    "training.epochs": COUNT,
    "training.batch_size": COUNT,
    "training.learning_rate": POSITIVE,
    "training.weight_decay": NONNEGATIVE,
    "training.beta1": BELOW_ONE,
    "training.beta2": BELOW_ONE,
    "training.learning_rate_decay": POSITIVE,
    "training.decay_every": COUNT,
    "training.ema": BELOW_ONE,
    "training.penalty_warmup": NATURAL,
    "training.patience": NATURAL,
    "dataset.n_train": COUNT,
    "dataset.n_validation": COUNT,
    "dataset.label_noise": BELOW_ONE,
}
MODEL = {
    "model.trunk": COUNT,
    "model.decoder": COUNT,
    "model.latents": COUNT,
    "model.initial_sigma": POSITIVE,
    "model.sigma": NONNEGATIVE,
    "model.beta": NONNEGATIVE,
    "model.dropout": BELOW_ONE,
    "model.latent_dropout": BELOW_ONE,
    "model.label_smoothing": BELOW_ONE,
    "model.confidence_penalty": NONNEGATIVE,
    "model.logit_penalty": NONNEGATIVE,
    "model.reconstruction": NONNEGATIVE,
    "model.decoder_share": BELOW_ONE,
    "model.hidden": COUNT,
    "model.pixel_sigma": POSITIVE,
    "model.sigma_floor": POSITIVE,
    "model.capacity": NONNEGATIVE,
    "model.free_bits": NONNEGATIVE,
    "model.branch": COUNT,
    "model.classification": NONNEGATIVE,
    "model.noise": COUNT,
    "model.posterior": COUNT,
    "model.discriminator": COUNT,
    "model.discriminator_steps": COUNT,
    "model.discriminator_rate": POSITIVE,
    "model.contrast_draws": FACTOR,
    "model.left_channels": COUNT,
    "model.private": COUNT,
}
"""Of the catalogue's models, in which one name means one thing; geometry of convolutions is checked where it is built.

A model class of a study's own checks its own numbers.
"""


def check(values: Any, limits: Mapping[str, Limit], where: str) -> None:
    """Raise `UserError` for the first value out of its range; `values` is a configuration or a mapping of some.

    A limit on a list holds for each of its numbers; None is always allowed (the type says whether it is possible).
    """
    for path, value in flatten(values).items():
        limit = limits.get(path)
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if limit and number is not None and not limit.holds(number):
                raise UserError(f"{where}: {path} = {value!r}, but it must be {limit.text}")
