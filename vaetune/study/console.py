"""What a person sees while a study runs: a live table in a terminal, plain lines anywhere else.

Watching must never end a study: an output that breaks (a closed pipe, a lost terminal) goes quiet for good.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Literal, TextIO, cast

from vaetune.study.unbreakable import Unbreakable

if TYPE_CHECKING:
    from rich.console import Group

_SECONDS_BETWEEN_LINES = 10.0
_REDRAWS_PER_SECOND = 4
_OUTCOMES = ("finished", "stopped", "failed")


class Console:
    """The progress of a study's arms through its phases.

    `unit` "%" shows objectives, which are fractions, in per cent; any other unit shows them as they are. `stream` is
    standard output by default. In a terminal the lower part of the screen is a table that a thread redraws; elsewhere
    a phase has a line at its beginning, one about every ten seconds in which something happens, and one at its end.
    """

    def __init__(
        self,
        arms: Sequence[str],
        unit: str = "%",
        stream: TextIO | None = None,
        direction: Literal["minimize", "maximize"] = "minimize",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arms = tuple(arms)
        self._unit, self._direction, self._clock = unit, direction, clock
        self._phase = _Phase("", {}, clock())
        self._last_line = clock()
        terminal = (stream or sys.stdout).isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._out = Unbreakable(stream or sys.stdout)
        self._screen = _Screen(self, self._out, redirect=stream is None) if terminal else None

    def note(self, text: str) -> None:
        """A line that stays, above the table where there is one."""
        if self._screen:
            self._screen.line(text)
        else:
            self._out.write(text + "\n")
            self._out.flush()

    def phase(self, name: str, members: Mapping[str, int], epochs: Mapping[str, float]) -> None:
        """A phase begins (and the one before ends): its members per arm, and the epochs expected of them in all.

        An arm that is not in `epochs`, as in a phase without training, is measured by its members instead. Members
        that an earlier run has ended are reported by `finished` before the first `advance`.
        """
        self._end()
        order = [*(a for a in self._arms if a in members), *(a for a in members if a not in self._arms)]
        arms = {arm: _Arm(members[arm], float(epochs.get(arm, 0.0))) for arm in order if members[arm]}
        self._phase = _Phase(name, arms, self._clock())
        self._last_line = self._clock()
        if self._screen:
            self._screen.start()
        else:
            size = f"{_count(self._phase.total, 'member')} of {_count(len(arms), 'arm')}"
            foretold = f", about {self._phase.expected:,.0f} epochs" if self._phase.expected else ""
            self.note(f"{name}: {size}{foretold}")

    def advance(self, arm: str, epochs: int) -> None:
        """The members of `arm` have trained that many epochs since the last call."""
        if not self._phase.epochs:
            self._phase.taken_over = self._phase.done
        self._phase.arm(arm).epochs += epochs
        self._line_if_due()

    def finished(self, arm: str, outcome: str, objective: float | None) -> None:
        """A member has ended: finished, stopped or failed. Only what finished can be the best so far."""
        row = self._phase.arm(arm)
        row.ended[outcome] = row.ended.get(outcome, 0) + 1
        if outcome == "finished" and objective is not None and math.isfinite(objective):
            row.best = objective if row.best is None else self._better((row.best, objective))
        self._line_if_due()

    def close(self) -> None:
        """Ends the phase and gives the terminal back; calls after the first do nothing."""
        if self._screen:
            self._screen.stop()
        self._end()
        self._phase = _Phase("", {}, self._clock())

    def __rich__(self) -> Group:
        """The live view as it stands now: the phase's line and the table of its arms."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        phase = self._phase
        title = Text(no_wrap=True, overflow="ellipsis").append(phase.name, "bold").append(f"  {self._progress()}")
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("arm", overflow="ellipsis")  # the one column that gives way in a narrow terminal
        table.add_column("", no_wrap=True)
        for heading in (*_OUTCOMES, "of", f"best {self._unit}".strip(), "epochs"):
            table.add_column(heading, justify="right", no_wrap=True)
        leader = self._leader()
        for name, row in phase.arms.items():
            counts = [str(row.ended[outcome] or "·") for outcome in _OUTCOMES]
            table.add_row(
                name,
                _bar(row.done),
                *counts[:2],
                Text(counts[2], "red" if row.ended["failed"] else ""),
                str(row.members),
                Text(self._number(row.best), "bold green" if name == leader else ""),
                f"{row.epochs:,}",
            )
        return Group(title, table)

    def _progress(self) -> str:
        phase, elapsed = self._phase, self._clock() - self._phase.began
        left = phase.seconds_left(elapsed)
        eta = "" if not left else f", about {_span(left)} left"
        return f"{phase.done:,} of {phase.total:,} members{phase.spent} in {_span(elapsed)}{eta}"

    def _line_if_due(self) -> None:
        if self._screen or self._clock() - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = self._clock()
        self.note(f"{self._phase.name}: {self._progress()}{self._casualties()}{self._best()}")

    def _end(self) -> None:
        phase = self._phase
        if not phase.name:
            return
        if phase.done == phase.total:
            members = _count(phase.total, "member")
        else:
            members = f"ended early, {phase.done:,} of {phase.total:,} members"
        took = _span(self._clock() - phase.began)
        self.note(f"{phase.name}: {members}{phase.spent} in {took}{self._casualties()}{self._best()}")

    def _casualties(self) -> str:
        counts = {outcome: sum(a.ended[outcome] for a in self._phase.arms.values()) for outcome in _OUTCOMES}
        return "".join(f", {counts[outcome]:,} {outcome}" for outcome in _OUTCOMES[1:] if counts[outcome])

    def _best(self) -> str:
        leader = self._leader()
        if leader is None:
            return ""
        return f"; best {leader} {self._number(self._phase.arms[leader].best)} {self._unit}".rstrip()

    def _leader(self) -> str | None:
        best = {name: row.best for name, row in self._phase.arms.items() if row.best is not None}
        return next((name for name, value in best.items() if value == self._better(best.values())), None)

    def _better(self, values: Collection[float]) -> float:
        return min(values) if self._direction == "minimize" else max(values)

    def _number(self, objective: float | None) -> str:
        if objective is None:
            return "·"
        return f"{100 * objective:.2f}" if self._unit == "%" else f"{objective:.4g}"


@dataclass
class _Arm:
    members: int
    expected: float
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_OUTCOMES, 0))
    epochs: int = 0
    best: float | None = None

    @property
    def waiting(self) -> int:
        """Members that have not ended."""
        return max(self.members - sum(self.ended.values()), 0)

    @property
    def left(self) -> float:
        """Epochs still to come: what the estimate leaves, but no more than its share for the members not yet ended.

        An arm that has outspent its estimate still has that share ahead of it.
        """
        share = self.expected * self.waiting / max(self.members, 1)
        return share if self.epochs >= self.expected else min(share, self.expected - self.epochs)

    @property
    def done(self) -> float:
        """How much of the arm's work is done, in [0, 1]."""
        return 1 - (self.left / self.expected if self.expected else self.waiting / max(self.members, 1))


@dataclass
class _Phase:
    name: str
    arms: dict[str, _Arm]
    began: float
    taken_over: int = 0

    def arm(self, name: str) -> _Arm:
        """The arm's row; one that nobody announced gets a row, since a display is no place to stop a study."""
        if name not in self.arms:
            self.arms = {**self.arms, name: _Arm(0, 0.0)}  # a new dictionary: the drawing thread may be at the old one
        return self.arms[name]

    @property
    def total(self) -> int:
        return sum(a.members for a in self.arms.values())

    @property
    def done(self) -> int:
        return sum(sum(a.ended.values()) for a in self.arms.values())

    @property
    def epochs(self) -> int:
        return sum(a.epochs for a in self.arms.values())

    @property
    def expected(self) -> float:
        return sum(a.expected for a in self.arms.values())

    @property
    def spent(self) -> str:
        return f", {self.epochs:,} epochs" if self.epochs else ""

    def seconds_left(self, elapsed: float) -> float | None:
        """What is still to come at the pace so far: in epochs where these were foretold, else in members."""
        if self.expected:
            return elapsed * sum(a.left for a in self.arms.values()) / self.epochs if self.epochs else None
        ended = self.done - self.taken_over
        return elapsed * sum(a.waiting for a in self.arms.values()) / ended if ended else None


class _Screen:
    """The terminal: rich's live display of `view` below the lines that stay."""

    def __init__(self, view: Console, out: Unbreakable, redirect: bool) -> None:
        from rich.console import Console as Rich
        from rich.live import Live

        self._rich = Rich(file=cast("IO[str]", out), force_terminal=True)
        self._live = Live(
            view,
            console=self._rich,
            refresh_per_second=_REDRAWS_PER_SECOND,
            redirect_stdout=redirect,
            redirect_stderr=redirect,
        )

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def line(self, text: str) -> None:
        self._rich.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _bar(share: float, width: int = 8) -> str:
    filled = int(width * min(max(share, 0.0), 1.0))  # rounded down: full means done
    return "━" * filled + "─" * (width - filled)


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _span(seconds: float) -> str:
    """Hours, minutes and seconds as on a clock: 0:07, 12:30, 1:02:03."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"
