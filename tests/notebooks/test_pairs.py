"""What lies in notebooks/: pairs of one .py and one .ipynb with the same cells, and nothing of a run in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ["01-pull-the-best", "02-read-a-study", "03-explore-latents", "04-your-own-study", "05-published-results"]


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]
    return found


def test_every_notebook_is_a_pair() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_stripped(name: str) -> None:
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NAMES)
def test_both_have_the_same_cells(name: str) -> None:
    jupytext = pytest.importorskip("jupytext")
    ours = jupytext.read(FOLDER / f"{name}.py")
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in cells(name)]
    assert [(cell.cell_type, cell.source) for cell in ours.cells] == found


def test_published_numbers_are_those_of_the_study_and_ours_of_a_report() -> None:
    text = (FOLDER / "05-published-results.py").read_text()
    code = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    assert "0.0138" not in code
    assert "not measured" in code
    rows = (FOLDER / "results" / "arms.csv").read_text().splitlines()
    assert not any(row.startswith("paper,") for row in rows), "that preset has never been run"
    assert len(rows) == 1 + 2 * 14
