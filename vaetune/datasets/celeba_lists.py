"""The lists of CelebA: attributes, official splits, identities. Strict: a list cut short would silently be a sample.

All are lines of words, the first being the image's file name; the list of attributes begins with the number of its
rows and the attributes' names. Line ends may be those of any system.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import UserError, unknown

Rows = dict[str, int]


def read(path: Path) -> str:
    """The text of a list; raises `UserError` if it is no ASCII text."""
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error.reason} at byte {error.start})") from error


def attributes(text: str, wanted: Sequence[str], where: str) -> tuple[list[str], NDArray[np.bool_]]:
    """The file names and the `wanted` attributes, bool [N, K], in the order asked for.

    Raises `UserError` for an unknown attribute, a row that is too short or long, and a wrong number of rows.
    """
    lines = _lines(text)
    names = attribute_names(text, where)
    columns = [names.index(name) + 1 if name in names else _refuse(name, names) for name in wanted]
    stated, rows = int(lines[0]), lines[2:]
    if stated != len(rows):
        raise UserError(f"{where}: it says {stated} rows and has {len(rows)}; is it cut short?")
    files, out = [], np.empty((len(rows), len(columns)), np.bool_)
    for i, row in enumerate(rows):
        words = row.split()
        if len(words) != len(names) + 1:
            raise UserError(f"{where}, line {i + 3}: {len(words)} words, expected a file name and {len(names)} values")
        files.append(words[0])
        for k, column in enumerate(columns):
            if words[column] not in ("1", "-1"):
                raise UserError(f"{where}, line {i + 3}: {names[column - 1]} is {words[column]!r}, expected 1 or -1")
            out[i, k] = words[column] == "1"
    _unique(files, where)
    return files, out


def attribute_names(text: str, where: str) -> list[str]:
    """The attributes' names, from the second line; only the beginning of the text is needed."""
    first, _, rest = text.partition("\n")
    names = rest.partition("\n")[0].split()
    if not first.strip().isdecimal() or not names or len(set(names)) != len(names):
        raise UserError(f"{where}: expected the number of rows, then a line of attribute names, found {first[:40]!r}")
    return names


def numbers(text: str, where: str, allowed: range | None = None) -> Rows:
    """The number of each file, of the list of splits or of identities; `allowed` are those that may occur."""
    out: Rows = {}
    lines = _lines(text)
    for i, line in enumerate(lines):
        words = line.split()
        if len(words) != 2 or not words[1].isdecimal() or (allowed is not None and int(words[1]) not in allowed):
            what = f"one of {', '.join(map(str, allowed))}" if allowed else "a number"
            raise UserError(f"{where}, line {i + 1}: expected a file name and {what}, found {line[:40]!r}")
        out[words[0]] = int(words[1])
    if len(out) != len(lines):
        _unique([line.split()[0] for line in lines], where)
    return out


def _lines(text: str) -> list[str]:
    """The lines, without an empty one at the end."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _unique(files: Sequence[str], where: str) -> None:
    if len(set(files)) != len(files):
        seen: set[str] = set()
        twice = next(file for file in files if file in seen or seen.add(file))  # type: ignore[func-returns-value]
        raise UserError(f"{where}: {twice} occurs twice")


def _refuse(name: str, names: Sequence[str]) -> int:
    raise unknown("attribute", name, names)
