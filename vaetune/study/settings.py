"""The `--set path=value` overrides of a study."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any, cast

from vaetune.errors import UserError, unknown
from vaetune.study import Study
from vaetune.study.checks import needed
from vaetune.study.space import combined, covers, draws
from vaetune.study.validate import hints, parse

SECTIONS = ("dataset", "model", "training", "budget", "replication", "objective", "endpoint", "resources", "margin")


def apply(study: Study, assignments: Sequence[str]) -> tuple[Study, list[str]]:
    """The study with every `path=value` applied, and notes on what that dropped or left without effect in some arms.

    `arms=a,b` keeps those arms and the comparisons among them. A path that a search space draws is refused: the draw
    would win over it.
    """
    pairs: dict[str, str] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise UserError(f"--set {text!r}: expected path=value, such as --set budget.trials=8")
        if path in pairs:
            raise UserError(f"--set {path} is given twice ({pairs[path]} and {value}); give it once")
        pairs[path] = value
    notes: list[str] = []
    if "arms" in pairs:
        study, notes = _keep(study, pairs.pop("arms"))
    for path, value in pairs.items():
        study = _set(study, path, value)
        notes += _effect(study, path)
    return study, notes


def paths(study: Study) -> list[str]:
    """Every dotted path that `--set` takes, but for `arms`."""

    def below(value: Any, path: str) -> list[str]:
        if not dataclasses.is_dataclass(value):
            return [path]
        return [p for f in dataclasses.fields(value) for p in below(getattr(value, f.name), f"{path}.{f.name}")]

    return [p for section in SECTIONS for p in below(getattr(study, section), section)]


def _keep(study: Study, value: str) -> tuple[Study, list[str]]:
    names = [name.strip() for name in value.split(",")]
    for name in names:
        study.arm(name)
    arms = tuple(arm for arm in study.arms if arm.name in names)
    kept = tuple(c for c in study.comparisons if needed(c) <= set(names))
    notes = [
        f"comparison {c.name!r} is dropped: it needs the arms {', '.join(sorted(needed(c) - set(names)))}"
        for c in study.comparisons
        if c not in kept
    ]
    published = {name: error for name, error in study.published.items() if name in names}
    return dataclasses.replace(study, arms=arms, comparisons=kept, published=published), notes


def _set(study: Study, path: str, text: str) -> Study:
    known = paths(study)
    if path not in known:
        inside = [p for p in known if p.startswith(path + ".")]
        if inside:
            raise UserError(f"--set {path}: that is a whole section; set one of {', '.join(inside)}")
        near = difflib.get_close_matches(path, [*known, "arms"], cutoff=0.5)
        raise unknown(
            "setting",
            path,
            near or ["arms", "margin", "endpoint", *(f"{s}.*" for s in SECTIONS if s not in ("margin", "endpoint"))],
        )
    return cast(Study, _replace(study, path.split("."), text, path))


def _replace(config: Any, names: list[str], text: str, path: str) -> Any:
    head, *rest = names
    if rest:
        new = _replace(getattr(config, head), rest, text, path)
    else:
        new = parse(text, hints(type(config), path)[head], f"--set {path}")
    return dataclasses.replace(config, **{head: new})


def _effect(study: Study, path: str) -> list[str]:
    """Refuse a setting that a draw would override everywhere or somewhere; say where an arm's own override wins."""
    for arm in study.arms:
        if any(covers(key, path) for _, overrides in draws(combined(study, arm)) for key in overrides):
            raise UserError(
                f"--set {path}: the search space of arm {arm.name!r} draws it, so the value would be lost; "
                "change its range in the study file, or choose another preset"
            )
    fixed = [arm.name for arm in study.arms if any(covers(key, path) for key in arm.overrides)]
    if fixed and len(fixed) == len(study.arms):
        raise UserError(
            f"--set {path}: every arm overrides it, so the value would be lost; change the arms in the study file"
        )
    return [f"--set {path} has no effect in the arms {', '.join(fixed)}, which override it"] if fixed else []
