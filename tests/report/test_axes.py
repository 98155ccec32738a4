"""Errors along an axis, and where the arms part."""

from __future__ import annotations

from typing import Any

import pytest

from vaetune.report import comparisons, summaries
from vaetune.report.axes import axis_blocks
from vaetune.report.contrasts import contrasts
from vaetune.report.document import Bullets, Figure, Table

PATH = "dataset.n_train"


def crossed(execution: Any, grid: bool) -> Any:
    """Two arms that part at 1,000 images: 10 points there, nothing at 100."""
    errors = {"a_100": 0.40, "b_100": 0.40, "a_1000": 0.30, "b_1000": 0.20}
    made = execution(
        errors,
        comparisons=[
            {"name": f"b − a, {n}", "question": "?", "weights": [[f"b_{n}", 1], [f"a_{n}", -1]]} for n in (100, 1000)
        ],
        n=8,
        m=400,
    )
    for declared, n in zip(made.study["comparisons"], (100, 1000), strict=True):
        declared |= {"base": "b − a", "at": {"dataset.label_noise": 0.0, PATH: n} if grid else {PATH: n}}
    for arm in made.study["arms"]:
        base, n = arm["name"].split("_")
        arm |= {"base": base, "at": {"dataset.label_noise": 0.0, PATH: int(n)} if grid else {PATH: int(n)}}
    return made.assembled()


@pytest.fixture(params=[False, True], ids=["one axis", "two axes"])
def blocks(request: pytest.FixtureRequest, execution: Any) -> list[Any]:
    found = crossed(execution, request.param)
    verdicts = comparisons.judge(contrasts(found), found.errors, found.search, found.margin)
    return list(axis_blocks(found, summaries.arms(found), verdicts))


def test_the_sentences_say_where_the_arms_part(blocks: list[Any]) -> None:
    (said,) = (block for block in blocks if isinstance(block, Bullets))
    (sentence,) = said.items
    assert sentence.startswith("b − a: ")
    assert "better at" in sentence
    assert sentence.index("n_train = 100") < sentence.index("better at") < sentence.index("n_train = 1,000")


def test_the_curves_have_the_arms_numbers(blocks: list[Any]) -> None:
    figure = next(block for block in blocks if isinstance(block, Figure))
    lines = {trace.name: trace for trace in figure.figure.data if trace.name}
    assert set(lines) == {"a", "b"}
    assert list(lines["b"].x) == [100, 1000]
    assert lines["b"].y == pytest.approx([40, 20], abs=1.5)
    assert figure.figure.layout.xaxis.type == "log"
    span = figure.table.columns["95 % interval"](figure.table.frame.iloc[0])
    assert "+" not in span
    assert float(span.split(" to ")[0]) < 40 < float(span.split(" to ")[1])
    parting = next(block for block in blocks if isinstance(block, Table))
    assert parting.title.startswith("The comparisons along "), "not as its section"
    assert list(parting.frame["verdict"])[1] == "better"
    assert parting.frame["difference"].iloc[1] == pytest.approx(-0.1, abs=0.02)


def test_a_plain_study_has_no_such_section(execution: Any) -> None:
    found = execution({"a": 0.2, "b": 0.2}).assembled()
    assert axis_blocks(found, summaries.arms(found), []) == []
