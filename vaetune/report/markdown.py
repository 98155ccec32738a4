"""The report as Markdown: figures as their tables of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vaetune.report.document import Block, Bullets, Card, Document, Facts, Figure, Table, Text

_MARKUP = re.compile(r"[\\`*\[\]|<>#&~$]|(?<!\w)_|_(?!\w)")  # an underscore inside a word is a letter


def write(document: Document) -> str:
    """The document as GitHub-flavoured Markdown; the user's words stay words (no markup, no HTML)."""
    lines = [f"# {_plain(document.title)}", "", _plain(document.subtitle), "", f"> {_plain(document.lead)}", ""]
    for section in document.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text(text):
            yield _plain(text)
        case Bullets(items):
            yield from (f"- {_plain(item)}" for item in items)
        case Facts(items):
            yield from (f"- **{_plain(term)}:** {_plain(fact)}" for term, fact in items)
        case Card(outcome, name, sentence, details):
            yield f"- **{_plain(name)}: {outcome}.** {_plain(sentence)}"
            yield from (f"  - {_plain(detail)}" for detail in details)
        case Figure():
            yield from _table(block.table, block.title, " ".join(filter(None, (block.note, block.table.note))))
        case Table():
            yield from _table(block, block.title, block.note)


def _table(table: Table, title: str, note: str) -> Iterator[str]:
    yield f"### {_plain(title)}"
    yield ""
    yield _row(list(table.columns), [""] * len(table.columns))
    yield "|" + "|".join(" ---: " if numeric else " --- " for numeric in table.numeric()) + "|"
    yield from map(_row, table.cells(), table.targets())
    if note:
        yield ""
        yield _plain(note)


def _row(cells: list[str], targets: list[str]) -> str:
    return "| " + " | ".join(map(_linked, cells, targets)) + " |"


def _linked(text: str, target: str) -> str:
    return f"[{_plain(text)}](<{target}>)" if target else _plain(text)


def _plain(text: str) -> str:
    """One line in which nothing is markup: what Markdown or HTML would read is escaped."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
