from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from vaetune.report import battery
from vaetune.report.battery_tables import battery_blocks
from vaetune.report.document import Figure, Table, Text

ARMS = {"svae": 0.05, "plain": 0.15}


@pytest.fixture(scope="module")
def measured(execution: Callable):
    """Two replicates an arm; only svae has noise, and only svae collapsed (once)."""
    made = execution(ARMS, n=2, m=60)
    rows = []
    for arm, k in (("svae", 0), ("plain", 1)):
        for i in range(2):
            own = f"{arm}-rep{i:02d}"
            rows += [(own, "reliability/accuracy", x, x + 0.1 * i) for x in (0.5, 0.9)]
            rows += [(own, "attack/pgd", x, min(1.0, 10 * x)) for x in (0.0, 0.01, 0.1)]
            rows += [(own, "information/zy_at_least", None, 2.0), (own, "information/zy_at_most", None, 2.3)]
            rows += [(own, "ood/noise/entropy/auroc", None, 0.8 + 0.1 * i), (own, "ood/noise/entropy/fpr95", None, 0.3)]
            rows += [(own, "memorised/given", None, 0.2 + k / 10), (own, "memorised/true", None, 0.7)]
            rows += [(own, "latent/collapsed", None, float(not k and not i)), (own, "battery/full", None, 1.0)]
            if not k:
                rows += [(own, "information/xz_at_most", None, 5.0), (own, "sigma/share", 0.1, 1.0)]
                rows += [(own, "sigma/share", 1.0, 0.0)]
    table = pd.DataFrame(rows, columns=["replicate_id", "metric", "x", "value"])
    made.optional["battery"] = pd.concat([table, table.head(3)])  # a resumed run wrote some rows twice
    return made.assembled()


def test_curves_are_means_over_replicates(measured) -> None:
    table = battery.curve(measured, "reliability/accuracy").set_index(["arm", "x"])
    row = table.loc["svae", 0.5]
    assert (row["mean"], row["least"], row["greatest"], row["replicates"]) == pytest.approx((0.55, 0.5, 0.6, 2))
    assert list(table.index.get_level_values("arm").unique()) == ["svae", "plain"]
    assert battery.curve(measured, "no/such").empty


def test_numbers_have_their_t_interval(measured) -> None:
    row = battery.numbers(measured, "ood/").set_index(["arm", "metric"]).loc["plain", "ood/noise/entropy/auroc"]
    assert row["mean"] == pytest.approx(0.85)
    assert row["half"] == pytest.approx(12.7062 * 0.05, rel=1e-4)


def test_one_replicate_has_no_interval(execution: Callable) -> None:
    made = execution(ARMS, n=2, m=60)
    made.optional["battery"] = pd.DataFrame([("svae-rep00", "memorised/given", None, 0.2)]).set_axis(
        ["replicate_id", "metric", "x", "value"], axis=1
    )
    assert math.isnan(battery.numbers(made.assembled(), "memorised/").loc[0, "half"])


def test_a_collapsed_latent_is_named(measured) -> None:
    assert battery.collapsed(measured) == ["svae: the latent of 1 of 2 replicates has collapsed: no unit is active."]


def test_the_section_shows_what_was_measured(measured) -> None:
    blocks = battery_blocks(measured)
    names = [block.name for block in blocks if isinstance(block, (Figure, Table))]
    assert names == ["reliability", "sigma", "information", "outliers", "pgd", "memorised"]
    tables = {b.name: b.table if isinstance(b, Figure) else b for b in blocks if isinstance(b, (Figure, Table))}
    assert tables["information"].cells() == [["svae", "5", "2", "2.30"], ["plain", "–", "2", "2.30"]]
    assert tables["pgd"].cells()[0] == ["svae", "0.00", "10.00", "100.00"]
    assert tables["outliers"].cells()[0][:3] == ["svae", "noise", "entropy"]
    assert [row[0] for row in tables["sigma"].cells()] == ["svae"]
    assert tables["memorised"].cells()[1][:2] == ["plain", "30.00 ± 0.00"]


def test_what_was_not_measured_is_said(execution: Callable, measured) -> None:
    (only,) = battery_blocks(execution(ARMS, n=2, m=60).assembled())
    assert isinstance(only, Text)
    made = execution(ARMS, n=2, m=60)
    made.optional["battery"] = measured.battery[measured.battery["metric"].str.startswith("reliability")]
    *_, last = battery_blocks(made.assembled())
    assert isinstance(last, Text)
    assert "--battery full" in last.text


def test_names_in_the_information_plane_stand_apart_and_inside() -> None:
    from vaetune.report.battery_tables import _beside

    assert _beside([14, 181, 191, 293], [1.78, 1.85, 1.82, 1.81]) == [
        "bottom right",
        "top center",
        "bottom center",
        "bottom left",
    ]
    assert _beside([3], [1]) == ["top right"]
