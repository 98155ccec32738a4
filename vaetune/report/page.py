"""The report as one HTML file that needs nothing else: styles, scripts and figures inside, no address loaded."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files

from vaetune.report.document import Block, Bullets, Card, Document, Facts, Figure, Section, Table, Text
from vaetune.report.words import count

_LONG = 32  # letters
_TIED = re.compile(
    r" (?=[%=<±])|(?<=[=<±]) |(?<=\d) (?=(?:points?|s|min|h)\b)"
)  # spaces at which a line must not break


def write(document: Document, explorer: bool = False) -> str:
    """The document as HTML, with a link to the explorer if there is one beside it.

    Everything from outside is escaped, and the page's policy forbids loading anything.
    """
    links = "".join(f'<a href="#{s.name}">{_text(s.title)}</a>' for s in document.sections)
    links += '<a href="explorer.html">Latent space</a>' if explorer else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data: blob:">
<title>{_text(document.title)}</title>
<style>{_asset("style.css")}</style>
<script>{_plotly()}</script>
</head>
<body>
<header><h1>{_text(document.title)}</h1><p class="subtitle">{_text(document.subtitle)}</p>
<p class="lead">{_text(document.lead)}</p></header>
<nav>{links}</nav>
<main>{"".join(map(_section, document.sections))}</main>
<script>{_asset("theme.js")}</script>
</body>
</html>
"""


def _section(section: Section) -> str:
    return (
        f'<section id="{section.name}"><h2>{_text(section.title)}</h2>{"".join(map(_block, section.blocks))}</section>'
    )


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{_text(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>"
        case Facts(items):
            return f'<dl class="box">{"".join(f"<dt>{_text(t)}</dt><dd>{_text(f)}</dd>" for t, f in items)}</dl>'
        case Card(outcome, name, sentence, details):
            kind = outcome.split(",")[0]
            more = "".join(f"<p class='detail'>{_text(detail)}</p>" for detail in details)
            return (
                f'<article class="card {kind}"><h3><span class="chip">{_text(outcome)}</span>{_text(name)}</h3>'
                f"<p>{_text(sentence)}</p>{more}</article>"
            )
        case Table(folded=True):
            opened = f"<summary>{count(len(block.frame))} rows</summary>{_table(block)}"
            return _figure(block.title, block.note, f"<details>{opened}</details>")
        case Table():
            return _figure(block.title, block.note, _table(block))
        case Figure():
            picture = block.figure.to_html(
                full_html=False,
                include_plotlyjs=False,
                div_id=f"figure-{block.name}",
                config={"displaylogo": False, "displayModeBar": False, "responsive": True},
            )
            state = "" if block.folded else " open"
            numbers = f"<summary>The numbers</summary>{_table(block.table)}{_note(block.table.note)}"
            return _figure(block.title, block.note, f"{picture}<details{state}>{numbers}</details>")


def _figure(title: str, note: str, inner: str) -> str:
    return f"<figure><figcaption>{_text(title)}</figcaption>{inner}{_note(note)}</figure>"


def _note(note: str) -> str:
    return f'<p class="note">{_text(note)}</p>' if note else ""


def _table(table: Table) -> str:
    cells = table.cells()
    kinds = [' class="number"' if numeric else "" for numeric in table.numeric()]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, table.columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{_linked(c, t)}</td>" for k, c, t in zip(kinds, row, to, strict=True)) + "</tr>"
        for row, to in zip(cells, table.targets(), strict=True)
    )
    # Short names stay in one line, long ones must not push the numbers out of sight.
    names = " long" if any(len(row[0]) > _LONG for row in cells) else ""
    return f'<div class="scroll{names}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _linked(text: str, target: str) -> str:
    if not target.startswith(("http://", "https://")):
        return _text(text)
    return f'<a href="{escape(target)}" rel="noreferrer">{_text(text)}</a>'


def _text(text: str) -> str:
    return escape(_TIED.sub("\u00a0", text))


def _asset(name: str) -> str:
    return files("vaetune.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    return str(get_plotlyjs())
