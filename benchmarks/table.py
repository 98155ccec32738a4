"""Rows as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.timing import Rows


def section(part: str, rows: Rows) -> str:
    """One part as a Markdown table whose columns are all that its rows have."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "void"))
    lines = [
        f"## {part}",
        "",
        "| " + " | ".join(c.replace("_", " ") for c in columns) + " |",
        "|---" * len(columns) + "|",
    ]
    for row in rows:
        cells = [_cell(row.get(name, "")) for name in columns]
        if row.get("void"):
            cells[-1] = f"void: {row['void']}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def store(folder: Path, stamp: str, facts: Mapping[str, Any], results: Mapping[str, Rows]) -> None:
    """Writes `<stamp>.json` and `<stamp>.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"measured": stamp, "machine": dict(facts), "results": dict(results)}
    (folder / f"{stamp}.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    head = "\n".join(f"- {name}: {_fact(value)}" for name, value in facts.items())
    text = "\n".join(section(part, rows) for part, rows in results.items())
    (folder / f"{stamp}.md").write_text(f"# Benchmarks of {stamp}\n\n{head}\n\n{text}")


def _fact(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
