from __future__ import annotations

from collections.abc import Callable

import pytest

from vaetune.report import costs, figures, summaries
from vaetune.report.comparisons import judge
from vaetune.report.contrasts import contrasts

ARMS = {"svae": 0.05, "<b>plain</b>": 0.15}


def test_the_forest_colours_by_verdict_over_the_margin_band(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    (verdict,) = judge(contrasts(evidence), evidence.errors, evidence.search, evidence.margin)
    figure = figures.forest([verdict])
    band = figure.layout.shapes[0]
    assert (band.x0, band.x1) == (-0.5, 0.5)
    (trace,) = figure.data
    assert (trace.name, trace.marker.color) == ("better", figures.VERDICTS["better"])
    low, high = verdict.estimate.interval()
    assert trace.x[0] == pytest.approx(100 * verdict.estimate.mean)
    assert trace.error_x.array[0] == pytest.approx(50 * (high - low))


def test_words_of_the_user_are_escaped_where_plotly_reads_tags(execution: Callable) -> None:
    evidence = execution(ARMS).assembled()
    verdicts = judge(contrasts(evidence), evidence.errors, evidence.search, evidence.margin)
    arms = summaries.arms(evidence)
    for figure in (
        figures.forest(verdicts),
        figures.distributions(evidence, arms, summaries.published(evidence, arms)),
        figures.learning_curves(summaries.curves(evidence)),
        figures.spent(costs.ledger(evidence)),
    ):
        text = figure.to_json().replace("\\u003c", "<")
        assert "&lt;b&gt;plain" in text
        assert "<b>plain" not in text


def test_a_failed_replicate_is_named_and_does_not_stretch_the_axis(
    execution: Callable, fail_replicate: Callable
) -> None:
    made = execution({"svae": 0.05, "plain": 0.15})
    fail_replicate(made, "plain-rep02")
    evidence = made.assembled()
    arms = summaries.arms(evidence)
    figure = figures.distributions(evidence, arms, summaries.published(evidence, arms))
    assert figure.layout.xaxis.range[1] < 30
    (note,) = figure.layout.annotations
    assert note.text.startswith("✕ 1 failed; mean 27.")
    assert len(figure.data[0].x) == 11  # the dots: 12 replicates but for the failed one


def test_every_arm_has_a_panel_of_curves(execution: Callable) -> None:
    evidence = execution({f"arm{i}": 0.1 for i in range(4)}, comparisons=[]).assembled()
    figure = figures.learning_curves(summaries.curves(evidence))
    assert [title.text for title in figure.layout.annotations] == ["arm0", "arm1", "arm2", "arm3"]
    assert len(figure.data) == 3 * 4  # the others, the range, the mean


def test_bars_add_up_to_the_trials(execution: Callable) -> None:
    table = costs.ledger(execution(ARMS).assembled())
    figure = figures.spent(table)
    trials = [bar for bar in figure.data if bar.name in ("finished", "stopped", "failed")]
    assert sum(bar.x[0] for bar in trials) == table["trials"][0]
