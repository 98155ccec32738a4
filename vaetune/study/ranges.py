"""The building blocks of search spaces: each draws one setting, named by the last part of its path.

A space may also be any function of an Optuna trial, with branches where one draw depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaetune.study import Space


def log(path: str, low: float, high: float) -> Space:
    """One positive number, drawn log-uniformly."""
    return lambda trial: {path: trial.suggest_float(_name(path), low, high, log=True)}


def uniform(path: str, low: float, high: float) -> Space:
    """One number, drawn uniformly."""
    return lambda trial: {path: trial.suggest_float(_name(path), low, high)}


def choice(path: str, values: Sequence[Any]) -> Space:
    """One of these values."""
    return lambda trial: {path: trial.suggest_categorical(_name(path), values)}


def both(*spaces: Space) -> Space:
    """The union of spaces over different paths, drawn in this order."""
    return lambda trial: {path: value for space in spaces for path, value in space(trial).items()}


def _name(path: str) -> str:
    return path.rpartition(".")[2]
