from __future__ import annotations

from vaetune.study.versions import differences, versions


def test_the_same_process_differs_in_nothing() -> None:
    assert differences(versions(), versions()) == ""
    assert set(versions()) == {"vaetune", "python", "numpy", "ray", "torch"}
    assert "+" in versions()["vaetune"], "the sources count, not their release alone"


def test_differences_name_both_sides() -> None:
    worker = {**versions(), "torch": "1.0"}
    assert differences(versions(), worker) == f"torch 1.0 (the driver: {versions()['torch']})"
