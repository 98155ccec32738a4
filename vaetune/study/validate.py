"""The types of what comes in from outside, a study file or the command line: checked by pydantic, reported in words."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Callable
from types import SimpleNamespace, UnionType
from typing import Any, Literal, get_args, get_origin

from vaetune.errors import UserError, unknown

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

_CALLABLE = get_origin(Callable[..., Any])
_WORDS = {"none": "null", "true": "true", "false": "false"}  # what people type for JSON's words


def typed(value: Any, hint: Any, where: str) -> Any:
    """`value` with its type checked all the way down; `UserError` names the field and its type.

    Lists become tuples and integers floats where those are due, so that equal configurations have equal JSON.
    """
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, typing.cast(type, hint)):
            raise _wrong(where, value, hint)
        return _typed_fields(value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or (args[-1] is not Ellipsis and len(value) != len(args)):
            raise _wrong(where, value, hint)
        inner = args[:1] * len(value) if args[-1] is Ellipsis else args
        return tuple(typed(v, h, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, inner, strict=True)))
    if origin in (typing.Union, UnionType):
        rest = [a for a in args if a is not type(None)]
        own = [a for a in rest if dataclasses.is_dataclass(a) and isinstance(value, typing.cast(type, a))]
        if own or (len(rest) == 1 and value is not None):
            return typed(value, (own or rest)[0], where)
    if origin is _CALLABLE:
        if not callable(value):
            raise _wrong(where, value, hint)
        return value
    return _validated(lambda adapter: adapter.validate_python(value, strict=True), value, hint, where)


def parse(text: str, hint: Any, where: str) -> Any:
    """The value that a text on the command line stands for: JSON, none, true and false in any case, or the text."""
    document = _WORDS.get(text.strip().lower(), text)
    try:
        value = json.loads(document)
        is_text = hint is str and not isinstance(value, str)
    except (ValueError, RecursionError):
        is_text = True
    if is_text:
        document = json.dumps(text)
    return _validated(lambda adapter: adapter.validate_json(document, strict=True), text, hint, where)


def hints(cls: Any, where: str) -> dict[str, Any]:
    """The resolved annotations of a dataclass; `where` stands in the `UserError` if they do not resolve."""
    try:  # the alias Space names optuna.Trial, which is not imported here
        return typing.get_type_hints(cls, localns={"optuna": SimpleNamespace(Trial=Any)})
    except NameError as error:
        raise UserError(f"{where}: the annotations of {cls.__name__} do not resolve: {error}") from error


def _typed_fields(value: Any, where: str) -> Any:
    types = hints(type(value), where)
    names = [f.name for f in dataclasses.fields(value) if f.init]
    return dataclasses.replace(value, **{n: typed(getattr(value, n), types[n], f"{where}.{n}") for n in names})


def _validated(validate: Callable[[TypeAdapter[Any]], Any], value: object, hint: Any, where: str) -> Any:
    from pydantic import ValidationError

    try:
        return validate(_adapter(hint))
    except ValidationError as error:
        if get_origin(hint) is Literal:
            choices = [str(a) for a in get_args(hint)]
            raise UserError(f"{where}: {unknown('value', str(value), choices)}") from error
        raise _wrong(where, value, hint) from error


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True))


def _wrong(where: str, value: object, hint: Any) -> UserError:
    found = repr(value)
    return UserError(f"{where}: expected {_expected(hint)}, found {found if len(found) < 80 else found[:76] + ' …'}")


def _expected(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    words = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", type(None): "none"}
    if hint in words:
        return words[hint]
    if origin is tuple:
        return f"a list, each {_expected(args[0])}" if args[-1] is Ellipsis else f"({', '.join(map(_expected, args))})"
    if origin in (typing.Union, UnionType):
        return " or ".join(_expected(a) for a in args)
    if origin is _CALLABLE:
        return "a function"
    return str(getattr(hint, "__name__", hint))
