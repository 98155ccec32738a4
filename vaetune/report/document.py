"""A report as data: sections of blocks, which `page` writes as HTML and `markdown` as Markdown. All text is plain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]

_NUMERIC = re.compile(r"[−+<]?\s?\d[\d,.]*([−+±e %].*)?|–|")

Cell = Callable[[Mapping[str, Any]], str]
"""What a column prints of a row of the frame."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Terms and what holds of them."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Card:
    """One verdict: its one-word outcome, the comparison's name, the sentence, and what it was asked for."""

    outcome: str
    name: str
    sentence: str
    details: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table to read (`columns` of printed cells) and to compute with (`frame`, written as CSV and Parquet).

    `links` says for some of the columns where a cell leads ("": nowhere). A `folded` table is closed in HTML at first.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: Mapping[str, Cell]
    note: str = ""
    links: Mapping[str, Cell] = field(default_factory=dict)
    folded: bool = False

    def cells(self) -> list[list[str]]:
        """The printed rows."""
        return [
            [cell(cast(Mapping[str, Any], row)) for cell in self.columns.values()]
            for row in self.frame.to_dict("records")
        ]

    def targets(self) -> list[list[str]]:
        """Where each printed cell leads; "" is nowhere."""
        nowhere: Cell = lambda row: ""  # noqa: E731
        links = [self.links.get(name, nowhere) for name in self.columns]
        rows = cast(list[Mapping[str, Any]], self.frame.to_dict("records"))
        return [[link(row) for link in links] for row in rows]

    def numeric(self) -> list[bool]:
        """Which columns print numbers only, and align to the right."""
        return [all(map(_NUMERIC.fullmatch, column)) for column in zip(*self.cells(), strict=True)]


@dataclass(frozen=True)
class Figure:
    """A picture, and the same numbers as a table: Markdown shows those, HTML has them below, `folded` or open."""

    name: str
    title: str
    figure: go.Figure
    table: Table
    note: str = ""
    folded: bool = True


def word(column: str) -> Cell:
    """Prints the column as it is."""
    return lambda row: str(row[column])


def of(column: str, words: Callable[[float], str]) -> Cell:
    """Prints the column's number in these words."""
    return lambda row: words(row[column])


Block = Text | Bullets | Facts | Card | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and its blocks; `name` is the anchor."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    subtitle: str
    lead: str
    sections: Sequence[Section]

    def tables(self) -> Iterator[Table]:
        """Every table, those behind figures included."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    yield block
                elif isinstance(block, Figure):
                    yield block.table
