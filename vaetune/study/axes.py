"""Axes: a study crossed with a setting of its dataset, to see how a difference grows, shrinks or turns along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vaetune.errors import UserError, unknown
from vaetune.study import Arm, BestOf, Comparison, Study

AXES = ("dataset.n_train", "dataset.label_noise")


def cross(study: Study, path: str, values: Sequence[float]) -> Study:
    """The study with every arm, and every comparison, once at each value of an axis.

    Each arm is tuned anew at every value, with the whole budget: a configuration that was tuned on many images is no
    fair one on few. Replicate i is paired along the axis too, its training sets nest. All comparisons together are the
    family that the verdicts are adjusted for. Crossing twice gives a grid. Published errors belong to no value and are
    left out. Raises `UserError` for another path, and for values that are not at least two.
    """
    if path not in AXES:
        raise unknown("axis", path, AXES)
    if len(set(values)) < 2 or len(set(values)) < len(values):
        raise UserError(f"axis {path}: needs at least two different values, found {list(values)}")
    return replace(
        study,
        arms=tuple(_arm(arm, path, value) for value in values for arm in study.arms),
        comparisons=tuple(_comparison(c, path, value) for value in values for c in study.comparisons),
        published={},
    )


def _arm(arm: Arm, path: str, value: float) -> Arm:
    return replace(
        arm,
        name=_named(arm.name, path, value),
        overrides={**arm.overrides, path: value},
        base=arm.base or arm.name,
        at={**arm.at, path: value},
    )


def _comparison(comparison: Comparison, path: str, value: float) -> Comparison:
    def here(who: str | BestOf) -> str | BestOf:
        if isinstance(who, BestOf):
            return BestOf(tuple(_named(arm, path, value) for arm in who.arms))
        return _named(who, path, value)

    return replace(
        comparison,
        name=f"{comparison.name}, {path.rpartition('.')[2]} = {value:,}",
        weights=tuple((here(who), weight) for who, weight in comparison.weights),
        base=comparison.base or comparison.name,
        at={**comparison.at, path: value},
    )


def _named(arm: str, path: str, value: float) -> str:
    return f"{arm}_{path.rpartition('.')[2]}_{str(value).replace('.', '_')}"
