from __future__ import annotations

import math

import pytest

from vaetune.report import words


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.percent(0.01234), "1.23"),
        (words.percent(None), "–"),
        (words.points(-0.0042), "−0.42"),
        (words.points(0.0042), "+0.42"),
        (words.points(-0.00001), "0.00"),
        (words.signed(-0.00731), "−0.0073"),
        (words.signed(0.2), "+0.2000"),
        (words.signed(-0.00001), "0.0000"),
        (words.number(269_322.0), "269,322"),
        (words.number(0.00012345), "0.000123"),
        (words.number(1.5e-7), "1.50e−07"),
        (words.number(math.nan), "–"),
        (words.p_value(0.0004), "< 0.001"),
        (words.equals(0.0004), "< 0.001"),
        (words.equals(0.0342), "= 0.034"),
        (words.duration(2.5), "2.5 s"),
        (words.duration(59.7), "1 min 00 s"),
        (words.duration(3725), "1 h 02 min"),
        (words.interval(-0.0061, 0.0023), "−0.61 to +0.23"),
        (words.interval(None, 0.1), "–"),
        (words.plural(1, "arm"), "1 arm"),
        (words.plural(1200, "search", "searches"), "1,200 searches"),
        (words.combination([("a", 1.0), ("b", -0.5), ("c", 1.0)]), "a − 0.5 b + c"),
        (words.combination([("a", -1.0)]), "−a"),
        (words.spread(0.32, 0.0061, words.decimals([0.0061, 0.0058, 0.4])), "0.3200 ± 0.0061"),
        (words.spread(12.0, 0.0, words.decimals([0.0, 0.0])), "12.00 ± 0.00"),
        (words.spread(12.0, math.nan, 1), "12.0"),
    ],
)
def test_as_the_report_writes_it(written: str, expected: str) -> None:
    assert written == expected
