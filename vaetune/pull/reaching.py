"""What the network or a disk refuses, as a message for the person at the keyboard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vaetune.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def reaching(function: Callable[P, T]) -> Callable[P, T]:
    """The function, whose first argument is a `source`, with any OSError as a `UserError` that names it."""

    @functools.wraps(function)
    def reached(*args: P.args, **options: P.kwargs) -> T:
        try:
            return function(*args, **options)
        except OSError as error:
            source = args[0] if args else options["source"]
            raise UserError(
                f"{source}: {error.strerror or error}; check the address, the network, the disk, and for S3 the "
                "credentials in the environment"
            ) from error

    return reached
