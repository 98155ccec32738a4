"""How the report writes numbers: errors in per cent, differences in points, p values, counts, durations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

MISSING = "–"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in [0, 1] as per cent, without the sign: 0.0123 is "1.23"."""
    return fixed(share, 100.0, digits)


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, always signed: −0.0042 is "−0.42"."""
    return signed_fixed(difference, 100.0)


def fixed(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    """`scale` times a number to so many decimals, without a sign for what is positive."""
    return MISSING if _absent(value) else _minus(f"{scale * _real(value):,.{digits}f}")


def signed_fixed(difference: float | None, scale: float = 1.0) -> str:
    """`scale` times a difference to two decimals, always signed but for zero."""
    if _absent(difference):
        return MISSING
    text = f"{scale * _real(difference):+,.2f}"
    return "0.00" if float(text.replace(",", "")) == 0 else _minus(text)


def signed(value: float, digits: int = 4) -> str:
    """A difference to so many decimals, with its sign: "−0.0073"."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else _minus(text)


def number(value: float | None, digits: int = 3) -> str:
    """A plain number to so many significant digits; whole numbers in full."""
    if _absent(value):
        return MISSING
    real = _real(value)
    if real == round(real) and abs(real) < 1e15:
        return count(real)
    if 1e-4 <= abs(real) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(real))))
        return _minus(f"{real:,.{decimals}f}")
    return _minus(f"{real:.{digits - 1}e}")


def decimals(halves: Sequence[float]) -> int:
    """How many decimals show the second digit of a typical half width of a column; at most 6."""
    known = [half for half in halves if half > 0]
    return min(6, max(0, 1 - math.floor(math.log10(statistics.median(known))))) if known else 2


def spread(mean: float, half: float, digits: int) -> str:
    """A mean and its half width to so many decimals: "0.3200 ± 0.0061"."""
    if _absent(mean):
        return MISSING
    return _minus(f"{mean:,.{digits}f}" + ("" if _absent(half) else f" ± {half:,.{digits}f}"))


def p_value(p: float | None) -> str:
    """Three decimals; smaller ones as "< 0.001"."""
    return MISSING if _absent(p) else "< 0.001" if _real(p) < 0.001 else f"{_real(p):.3f}"


def equals(p: float) -> str:
    """A p value with its relation sign: "= 0.034" or "< 0.001"."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def count(value: float | None) -> str:
    """A whole number with commas."""
    return MISSING if _absent(value) else _minus(f"{round(_real(value)):,d}")


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that say enough."""
    if _absent(seconds):
        return MISSING
    real = _real(seconds)
    if real < 9.95:
        return f"{real:.1f} s"
    whole = round(real)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def interval(low: float | None, high: float | None) -> str:
    """Two ends in points, as "−0.61 to −0.23"."""
    return MISSING if _absent(low) or _absent(high) else f"{points(low)} to {points(high)}"


def in_per_cent(metric: str) -> bool:
    """Whether an objective is a share, as a classifier's error is (a squared error is none)."""
    return metric.rpartition("/")[2] == "error"


def plural(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 arm", "1,200 arms"; `many` where it is not `one` with an s."""
    return f"{n:,d} {one if n == 1 else many or one + 's'}"


def combination(weights: Sequence[tuple[str, float]]) -> str:
    """A contrast as a sum: "svae − fixed_noise + 0.5 plain"."""
    out = ""
    for arm, weight in weights:
        sign = "−" if weight < 0 else "+"
        size = "" if abs(weight) == 1 else f"{abs(weight):.3g} "
        out += f" {sign} {size}{arm}" if out else f"{'−' if weight < 0 else ''}{size}{arm}"
    return out


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _real(value: float | None) -> float:
    assert value is not None
    return float(value)
