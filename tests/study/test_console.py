"""What is shown, read from fake terminals and pipes, on a clock that only the test moves."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
import rich.console

from vaetune.study.console import Console
from vaetune.study.unbreakable import Unbreakable

ARMS = [
    *("deterministic", "deterministic_wide", "dropout", "weight_decay", "label_smoothing", "confidence_penalty"),
    *("logit_penalty", "early_stopping", "fixed_noise", "compression_only", "fixed_noise_compression"),
    *("gaussian_dropout", "svae", "svae_with_decoder"),
]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def terminal_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


def drawn(console: Console, width: int = 80) -> list[str]:
    recorder = rich.console.Console(record=True, width=width, height=24, file=io.StringIO())
    recorder.print(console)
    return recorder.export_text().splitlines()


def cells(console: Console, arm: str) -> list[str]:
    (line,) = (line for line in drawn(console, 120) if line.split()[:1] == [arm])
    return line.split()[1:]


def test_a_phase_in_plain_lines(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(["svae", "plain"], stream=out, clock=clock)
    console.note("study x")
    console.phase("search", {"svae": 3, "plain": 3}, {"svae": 60.0, "plain": 60.0})
    for _ in range(4):
        clock.now += 4
        console.advance("svae", 5)
    console.finished("plain", "finished", 0.0431)
    console.finished("svae", "stopped", 0.01)
    clock.now += 11
    console.finished("svae", "failed", None)
    clock.now += 65
    console.close()
    console.close()
    assert out.getvalue().splitlines() == [
        "study x",
        "search: 6 members of 2 arms, about 120 epochs",
        "search: 0 of 6 members, 15 epochs in 0:12, about 1:24 left",
        "search: 3 of 6 members, 20 epochs in 0:27, about 1:21 left, 1 stopped, 1 failed; best plain 4.31 %",
        "search: ended early, 3 of 6 members, 20 epochs in 1:32, 1 stopped, 1 failed; best plain 4.31 %",
    ]


def test_a_new_phase_ends_the_one_before_and_counts_from_zero(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(["a"], stream=out, clock=clock)
    console.phase("search", {"a": 1}, {"a": 5})
    console.advance("a", 5)
    console.finished("a", "finished", 0.5)
    console.phase("replicate", {"a": 2}, {"a": 10})
    clock.now += 3700
    console.advance("a", 5)
    assert out.getvalue().splitlines()[1:] == [
        "search: 1 member, 5 epochs in 0:00; best a 50.00 %",
        "replicate: 2 members of 1 arm, about 10 epochs",
        "replicate: 0 of 2 members, 5 epochs in 1:01:40, about 1:01:40 left",
    ]


def test_fourteen_arms_fit_a_small_terminal(clock: Clock) -> None:
    console = Console(ARMS, stream=io.StringIO(), clock=clock)
    console.phase("search", dict.fromkeys(ARMS, 16), dict.fromkeys(ARMS, 24_000.0))
    clock.now += 5000
    for arm in ARMS:
        console.advance(arm, 12_345)
        console.finished(arm, "finished", 0.1234)
    lines = drawn(console)
    assert len(lines) == 2 + len(ARMS)  # what is left of 24 rows is for notes
    assert max(map(len, lines)) <= 80
    for arm in ARMS:
        (line,) = (line for line in lines if line.split()[0] == arm)
        assert "12.34" in line and line.rstrip().endswith("12,345")
    narrow = drawn(console, 64)
    assert all(line.rstrip().endswith("12,345") for line in narrow[2:])  # names give way before numbers
    assert lines[0] == "search  14 of 224 members, 172,830 epochs in 1:23:20, about 1:18:41 left"


def test_the_table_counts_each_outcome(clock: Clock) -> None:
    console = Console(["a", "b", "absent"], stream=io.StringIO(), clock=clock)
    console.phase("search", {"a": 4, "b": 4}, {"a": 40, "b": 40})
    assert cells(console, "a") == ["────────", "·", "·", "·", "4", "·", "0"]
    console.advance("a", 20)
    console.finished("a", "finished", 0.25)
    console.finished("a", "finished", 0.125)
    console.finished("a", "stopped", 0.001)
    console.finished("a", "failed", float("nan"))
    assert cells(console, "a") == ["━━━━━━━━", "2", "1", "1", "4", "12.50", "20"]
    assert cells(console, "b") == ["────────", "·", "·", "·", "4", "·", "0"]
    assert not any("absent" in line for line in drawn(console))


@pytest.mark.parametrize(("direction", "best"), [("minimize", "1.5"), ("maximize", "2.5")])
def test_other_units_and_directions(clock: Clock, direction: str, best: str) -> None:
    console = Console(["a"], unit="nats", stream=io.StringIO(), direction=direction, clock=clock)
    console.phase("search", {"a": 4}, {"a": 40})
    for objective in (2.5, 1.5, float("inf")):
        console.finished("a", "finished", objective)
    assert cells(console, "a")[5] == best
    assert any("best nats" in line for line in drawn(console))


@pytest.mark.parametrize(
    ("epochs", "ended", "left"),
    [
        (50, 0, "1:30"),  # half of the estimate spent: as long again
        (50, 8, "0:36"),  # stopping spares more than was thought: two members of ten epochs each
        (200, 5, "0:22"),  # outspent: the other five still have their share ahead
        (100, 10, None),  # nothing left to wait for
    ],
)
def test_the_time_left_is_that_of_the_members_left(clock: Clock, epochs: int, ended: int, left: str | None) -> None:
    console = Console(["a"], stream=io.StringIO(), clock=clock)
    console.phase("search", {"a": 10}, {"a": 100})
    clock.now += 90
    assert "left" not in drawn(console)[0]  # no pace yet
    console.advance("a", epochs)
    for _ in range(ended):
        console.finished("a", "stopped", None)
    title = drawn(console)[0]
    assert (f"about {left} left" in title) if left else ("left" not in title)


def test_a_phase_without_foretold_epochs_goes_by_members(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(["a"], stream=out, clock=clock)
    console.phase("evaluate", {"a": 8}, {})
    assert out.getvalue() == "evaluate: 8 members of 1 arm\n"
    clock.now += 60
    assert "left" not in drawn(console)[0]
    console.finished("a", "finished", 0.5)
    console.finished("a", "finished", 0.5)
    assert drawn(console)[0] == "evaluate  2 of 8 members in 1:00, about 3:00 left"
    assert cells(console, "a")[0] == "━━──────"


def test_members_that_an_earlier_run_ended_do_not_set_the_pace(clock: Clock) -> None:
    console = Console(["a"], stream=io.StringIO(), clock=clock)
    console.phase("search", {"a": 8}, {})
    for _ in range(5):
        console.finished("a", "stopped", 0.5)
    clock.now += 60
    console.advance("a", 10)
    assert "left" not in drawn(console)[0]
    console.finished("a", "finished", 0.5)
    assert drawn(console)[0] == "search  6 of 8 members, 10 epochs in 1:00, about 2:00 left"


def test_an_arm_that_nobody_announced_is_no_reason_to_die(clock: Clock) -> None:
    console = Console(["a"], stream=io.StringIO(), clock=clock)
    console.advance("a", 1)
    console.phase("search", {"a": 1}, {})
    console.advance("b", 3)
    console.finished("b", "odd", 0.5)
    assert cells(console, "b")[-1] == "3"


def test_lines_hold_no_escape_codes_and_notes_no_markup(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(["a"], stream=out, clock=clock)
    console.note("[bold]a :smile:[/bold]")
    console.phase("search", {"a": 1}, {"a": 5})
    clock.now += 20
    console.advance("a", 5)
    console.close()
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().startswith("[bold]a :smile:[/bold]\n")


def test_a_terminal_gets_a_table_and_its_cursor_back(clock: Clock) -> None:
    out = Terminal()
    console = Console(["a"], stream=out, clock=clock)
    console.note("before [bold]")
    assert out.getvalue() == "before [bold]\n"
    console.phase("search", {"a": 1}, {"a": 5})
    console.note("during " + 40 * "long ")
    console.finished("a", "finished", 0.5)
    console.close()
    text = out.getvalue()
    assert "during " + 40 * "long " in text
    assert "50.00" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.endswith("search: 1 member in 0:00; best a 50.00 %\n")


def test_a_dumb_terminal_gets_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    console = Console(["a"], stream=out, clock=clock)
    console.phase("search", {"a": 1}, {"a": 5})
    console.close()
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_closed_stream_goes_quiet(clock: Clock, kind: type[io.StringIO]) -> None:
    out = kind()
    console = Console(["a"], stream=out, clock=clock)
    console.phase("search", {"a": 1}, {"a": 5})
    out.close()
    console.note("nobody hears this")
    clock.now += 20
    console.finished("a", "finished", 0.5)
    console.close()


def test_a_closed_pipe_goes_quiet_for_every_writer() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        out = Unbreakable(stream)
        out.write("lost")
        out.flush()
        stream.write("lost, too")
        stream.flush()


def test_a_study_outlives_its_pager() -> None:
    """`vaetune … | head -1`: the reader leaves, the study goes on and its exit code is its own."""
    code = (
        "import sys; from vaetune.study.console import Console; console = Console(['a']); console.note('first')\n"
        "sys.stdin.read()\n"
        "console.phase('search', {'a': 1}, {'a': 5}); console.close(); print('more', flush=True)\n"
        "print('alive', file=sys.stderr)\n"
        "assert 'rich' not in sys.modules and 'torch' not in sys.modules\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as study:
        assert study.stdin and study.stdout and study.stderr
        assert study.stdout.readline() == "first\n"
        study.stdout.close()
        study.stdin.close()
        assert study.stderr.read() == "alive\n"
        assert study.wait() == 0


def test_characters_that_the_stream_lacks_are_replaced() -> None:
    raw = io.BytesIO()
    out = Unbreakable(io.TextIOWrapper(raw, encoding="ascii"))
    out.write("σ = 1\n")
    out.flush()
    assert raw.getvalue() == b"? = 1\n"
