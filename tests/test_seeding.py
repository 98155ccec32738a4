"""Seeds are pure functions of their arguments, the same on every machine and in every version."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from vaetune.seeding import derive, seed_for


def test_values_never_change() -> None:
    assert seed_for(0, "study", "digits", 3, "init") == 4294646032113778617
    assert derive("a") == 7299139317422481125


@given(st.text())
def test_a_seed_fits_torch_and_numpy(text: str) -> None:
    assert 0 <= derive(text) < 2**63


def test_every_argument_counts() -> None:
    grid = product((0, 1, 10), ("s", "s1"), ("digits", "mnist"), (0, 1, 11), ("init", "order", "noise"))
    seeds = [seed_for(*arguments) for arguments in grid]
    assert len(set(seeds)) == len(seeds) == 108


def test_arguments_do_not_run_into_each_other() -> None:
    assert seed_for(1, "2s", "d", 0, "p") != seed_for(12, "s", "d", 0, "p")
    assert seed_for(0, "s", "d", 1, "1p") != seed_for(0, "s", "d", 11, "p")
