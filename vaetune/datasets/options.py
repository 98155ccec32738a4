"""What a dataset's name carries after ":": `TARGET[@SIZE][,key=value…][,grey]`, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vaetune.errors import UserError, unknown

_HEAD = re.compile(r"(?P<target>[^@,=]+)(@(?P<size>[1-9]\d{0,3}))?")


@dataclass(frozen=True)
class Options:
    """`target` as written, `size` in pixels or 0, `grey`, and the values of the named options as written."""

    target: str
    size: int
    grey: bool
    values: Mapping[str, str]


def parse(family: str, argument: str, form: str, defaults: Mapping[str, str]) -> Options:
    """The options of `family:argument`; raises `UserError` that shows the `form` or the near names of an option."""
    head, *rest = argument.split(",")
    found = _HEAD.fullmatch(head)
    grey = "grey" in rest
    values = dict(defaults)
    for part in rest:
        key, equals, value = part.partition("=")
        if found is None or rest.count(part) > 1 or (part != "grey" and not (key and equals and value)):
            found = None
            break
        if equals and key not in defaults:
            raise unknown(f"option of {family}", key, defaults)
        if equals:
            values[key] = value
    if found is None:
        raise UserError(f"dataset '{family}:{argument}': write {family}:{form}")
    return Options(found["target"], int(found["size"] or 0), grey, values)
