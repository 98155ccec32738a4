"""From an execution's folder to its report: one HTML file, Markdown, and every table as CSV, Parquet and LaTeX."""

from __future__ import annotations

import io

from vaetune.report import latex, markdown, page
from vaetune.report.contents import compose
from vaetune.report.evidence import gather
from vaetune.storage import Storage


def render(storage: Storage) -> None:
    """Read study.json, environment.json and tables/ of an execution's folder; write report/ beside them.

    Writes report.html (self-contained), report.md, and of every table in it <table>.csv and <table>.parquet in raw
    units (fractions, nats, seconds), and <table>.tex as it is printed. Raises `UserError` naming the row or
    file that is missing or odd.
    """
    document = compose(gather(storage))
    out = storage.below("report")
    for table in document.tables():
        out.write(f"{table.name}.csv", table.frame.to_csv(index=False).encode())
        buffer = io.BytesIO()
        table.frame.to_parquet(buffer, index=False)
        out.write(f"{table.name}.parquet", buffer.getvalue())
        out.write(f"{table.name}.tex", latex.write(table).encode())
    out.write("report.md", markdown.write(document).encode())
    out.write("report.html", page.write(document, storage.exists("report/explorer.html")).encode())
