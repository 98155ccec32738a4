from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vaetune.report import summaries
from vaetune.report.render import render
from vaetune.storage import Storage


def test_what_samples_change_is_shown_for_noisy_arms_only(
    execution: Callable, fail_replicate: Callable, tmp_path
) -> None:
    made = execution({"svae": 0.05, "plain": 0.15}, n=5, m=60)
    rows = made.replicates["arm"] == "svae"
    change = np.array([-0.02, -0.01, -0.03, -0.02, 0.0])
    made.replicates.loc[rows, "test/error_k"] = made.replicates.loc[rows, "test/error"].to_numpy() + change
    fail_replicate(made, "svae-rep04")
    made.replicates.loc[made.replicates["replicate_id"] == "svae-rep04", "test/error_k"] = 0.9
    (row,) = summaries.sampling(made.assembled()).to_dict("records")
    assert row["arm"] == "svae"
    assert row["difference"] == pytest.approx(-0.02)
    assert row["low"] < -0.02 < row["high"] < 0
    made.write(Storage(tmp_path))
    render(Storage(tmp_path))
    assert "### What averaging 12 samples changes" in (tmp_path / "report" / "report.md").read_text()


def test_without_noise_there_is_no_such_table(execution: Callable) -> None:
    assert summaries.sampling(execution({"svae": 0.05, "plain": 0.15}).assembled()).empty
