"""Define-by-run search spaces without Optuna: draw from them, describe them, and make configurations of the draws."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from vaetune.config import Configuration, override
from vaetune.errors import UserError
from vaetune.study import Arm, Space, Study
from vaetune.study.blame import blame

Step = TypeVar("Step", int, float)
Choice = None | bool | int | float | str
DRAWS = 64
"""How many draws stand for a space wherever it is described or checked."""


class Recorder:
    """Stands in for `optuna.Trial`: draws uniformly (log-uniformly) and records every distribution.

    A value is a function of `seed` and the hyperparameter's name, so what arms share is drawn the same in all of them.
    `known` holds the distributions of earlier draws: a name must mean the same range each time it is asked.
    """

    def __init__(self, seed: str, known: dict[str, dict[str, Any]]) -> None:
        self._seed = seed
        self._known = known
        self.params: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number in [low, high], or in {low, low + step, …} up to high."""
        _check_range(name, low, high, log, stepped=step is not None)
        low, high = float(low), float(high)
        entry: dict[str, Any] = {"kind": "float", "low": low, "high": high, "log": log}
        if step is None:
            return cast(float, self._ask(name, entry, _uniform(self._rng(name), low, high, log)))
        steps = math.floor((high - low) / _positive(name, step) + 1e-8)
        entry |= {"high": low + steps * step, "step": float(step)}
        return cast(float, self._ask(name, entry, low + self._rng(name).randint(0, steps) * step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer in {low, low + step, …} up to high."""
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high, step)):
            raise UserError(
                f"hyperparameter {name!r}: suggest_int needs integers, found {low!r}, {high!r}, step {step!r}"
            )
        _check_range(name, low, high, log, stepped=step != 1)
        steps = (high - low) // _positive(name, step)
        entry: dict[str, Any] = {"kind": "int", "low": low, "high": low + steps * step, "log": log}
        if step != 1:
            entry["step"] = step
        if log:  # half a step beyond both ends, so that the end points are as likely as their neighbours
            value = min(max(round(_uniform(self._rng(name), low - 0.5, high + 0.5, log=True)), low), high)
        else:
            value = low + self._rng(name).randint(0, steps) * step
        return cast(int, self._ask(name, entry, value))

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Any:
        """One of the choices."""
        choices = list(choices)
        if not choices:
            raise UserError(f"hyperparameter {name!r}: no choices")
        for choice in choices:
            if not isinstance(choice, Choice) or (isinstance(choice, float) and not math.isfinite(choice)):
                raise UserError(
                    f"hyperparameter {name!r}: the choice {choice!r} is not None, a bool, a finite number or a string; "
                    "choose a name and look the value up"
                )
        return self._ask(name, {"kind": "categorical", "choices": choices}, self._rng(name).choice(choices))

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}/{name}")

    def _ask(self, name: str, entry: dict[str, Any], value: Any) -> Any:
        if not isinstance(name, str) or not name:
            raise UserError(f"a hyperparameter's name must be a non-empty string, found {name!r}")
        before = self._known.setdefault(name, entry)
        if repr(before) != repr(entry):  # repr: True, 1 and 1.0 are different choices
            raise UserError(
                f"hyperparameter {name!r} has two ranges, {_range(before)} and {_range(entry)}; use two names"
            )
        return self.params.setdefault(name, value)


def combined(study: Study, arm: Arm) -> Space:
    """The whole space of an arm: the shared one, then its own. Errors of the user's functions become `UserError`."""

    def space(trial: Any) -> dict[str, Any]:
        shared = _call(study.space, trial, "the shared space")
        own = _call(arm.space, trial, f"the space of arm {arm.name!r}")
        for drawn in shared:
            for key in own:
                if covers(drawn, key) or covers(key, drawn):
                    raise UserError(
                        f"arm {arm.name!r}: its space draws {key}, which the shared space draws for every arm; "
                        "draw it in one of the two"
                    )
            for key in arm.overrides:
                if covers(drawn, key):
                    raise UserError(
                        f"arm {arm.name!r}: it overrides {key}, which the shared space draws for every arm, so the "
                        "override would be lost; take it out of one of the two"
                    )
        return shared | own

    return space


def covers(path: str, other: str) -> bool:
    """Whether setting `path` also sets `other`: the same dotted path, or one below it."""
    return other == path or other.startswith(path + ".")


def draws(space: Space, n: int = DRAWS, seed: int = 0) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """`n` independent uniform draws: (what the space sampled by name, the overrides it made of it)."""
    for trial, overrides in _record(space, n, seed, {}):
        yield trial.params, overrides


def describe(space: Space, n: int = DRAWS, seed: int = 0) -> list[dict[str, Any]]:
    """Every hyperparameter seen in `n` draws, in order of first appearance, as plain JSON.

    {"name", "kind": "float" | "int", "low", "high", "log", "step"?} or {"name", "kind": "categorical", "choices"};
    "conditional" is true where a draw did without it. `step` is left out where it is the finest there is.
    """
    known: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for trial, _ in _record(space, n, seed, known):
        for name in trial.params:
            seen[name] = seen.get(name, 0) + 1
    return [{"name": name} | known[name] | ({"conditional": True} if seen[name] < n else {}) for name in seen]


def configuration(study: Study, arm: Arm, overrides: Mapping[str, Any]) -> Configuration:
    """The study's plain configuration with the arm's overrides and then `overrides`, each checked against its field."""
    plain = Configuration(model=study.model, training=study.training, dataset=study.dataset)
    try:
        return override(override(plain, arm.overrides), overrides)
    except UserError as error:
        raise UserError(f"arm {arm.name!r}: {error}") from error


def _record(
    space: Space, n: int, seed: int, known: dict[str, dict[str, Any]]
) -> Iterator[tuple[Recorder, dict[str, Any]]]:
    for number in range(n):
        trial = Recorder(f"{seed}/{number}", known)
        yield trial, dict(space(cast(Any, trial)))


def _call(space: Space, trial: Any, what: str) -> dict[str, Any]:
    try:
        overrides = space(trial)
    except Exception as error:  # whatever the user's own function raises is shown as theirs, by file and line
        inside = error.__traceback__.tb_next if error.__traceback__ else None
        at = blame(error, inside.tb_frame.f_code.co_filename) if inside else f"{type(error).__name__}: {error}"
        raise UserError(f"{what} failed: {at}") from error
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise UserError(f'{what} must return overrides such as {{"model.beta": 0.01}}, found {overrides!r}')
    return dict(overrides)


def _uniform(rng: random.Random, low: float, high: float, log: bool) -> float:
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if log else rng.uniform(low, high)
    return min(max(value, low), high)


def _check_range(name: str, low: float, high: float, log: bool, *, stepped: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UserError(f"hyperparameter {name!r}: low = {low!r} and high = {high!r} must be finite, low ≤ high")
    if log and low <= 0:
        raise UserError(f"hyperparameter {name!r}: log=True needs a positive low, found {low!r}")
    if log and stepped:
        raise UserError(f"hyperparameter {name!r}: log=True and step do not go together")


def _positive(name: str, step: Step) -> Step:
    if not (math.isfinite(step) and step > 0):
        raise UserError(f"hyperparameter {name!r}: step must be positive, found {step!r}")
    return step


def _range(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "categorical":
        return repr(entry["choices"])
    options = "".join(f", {key}={entry[key]}" for key in ("log", "step") if entry.get(key))
    return f"{entry['kind']} [{entry['low']}, {entry['high']}{options}]"
