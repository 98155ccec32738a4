from __future__ import annotations

import pytest

from vaetune.errors import UserError
from vaetune.study.devices import devices


@pytest.mark.parametrize(
    ("given", "visible", "expected"),
    [([], 0, ["cpu"]), ([], 4, ["cuda"]), (["2"], 1, ["cuda:0"]), (["0", "3"], 2, ["cuda:0", "cuda:1"])],
)
def test_a_trial_computes_on_what_it_was_given(given: list[str], visible: int, expected: list[str]) -> None:
    assert devices(given, visible, logical=False) == expected


@pytest.mark.parametrize(("given", "visible"), [(["0"], 0), (["0", "1"], 1), (["0"], 4)])
def test_gpus_that_torch_does_not_see_are_refused(given: list[str], visible: int) -> None:
    with pytest.raises(UserError, match=rf"{len(given)} GPU\(s\).*torch can use {visible}"):
        devices(given, visible, logical=False)


@pytest.mark.parametrize(("given", "expected"), [([], 1), (["1"], 1), (["0", "1"], 2)])
def test_counted_gpus_are_the_cpu(given: list[str], expected: int) -> None:
    assert devices(given, 0, logical=True) == ["cpu"] * expected
