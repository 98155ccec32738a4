"""The endpoint that a study compares, and how its values and differences are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from vaetune import endpoints
from vaetune.report.words import MISSING, fixed, signed_fixed


@final
class Primary(endpoints.Endpoint):
    """An endpoint with words; numbers go in as the tables have them."""

    @property
    def title(self) -> str:
        """Its name as a heading begins."""
        return self.name[0].upper() + self.name[1:]

    @property
    def column(self) -> str:
        """A heading with the unit of the values: "Test error, %"."""
        return f"{self.title}, {self.values}"

    @property
    def smaller_is_better(self) -> bool:
        """Which direction is good."""
        return self.direction == "minimize"

    def value(self, x: float | None) -> str:
        """To two decimals, without the unit."""
        return fixed(x, self.scale)

    def difference(self, x: float | None) -> str:
        """Always signed, to two decimals, without the unit."""
        return signed_fixed(x, self.scale)

    def interval(self, low: float, high: float) -> str:
        """Two ends of a difference: "−0.61 to −0.23"."""
        ends = self.difference(low), self.difference(high)
        return MISSING if MISSING in ends else " to ".join(ends)

    def validation(self) -> str:
        """The same number on validation images, as a column of replicates."""
        return self.metric.replace("test/", "val/")


def of(study: Mapping[str, Any]) -> Primary:
    """The endpoint that study.json names; executions from before there was a choice compared test errors."""
    return Primary(**study.get("endpoint", vars(endpoints.ERROR)))


ERROR = of({})
