"""Black and white, drawn once, by the grey value."""

from __future__ import annotations

import numpy as np
import pytest

from vaetune.datasets import open_dataset
from vaetune.datasets.base import digest
from vaetune.errors import UserError


def test_pixels_are_black_or_white_by_their_grey_value_and_the_same_every_time() -> None:
    grey, drawn = open_dataset("digits"), open_dataset("binarized:digits")
    for part in ("development", "sealed_test"):
        before, after = getattr(grey, part)(), getattr(drawn, part)()
        assert set(np.unique(after.images)) == {0, 255}
        assert (after.images[before.images == 0] == 0).all()
        assert (after.images[before.images == 255] == 255).all()
        assert (after.labels == before.labels).all()
        shares = [(after.images[before.images == grey] == 255).mean() for grey in (64, 128, 191)]
        assert shares == pytest.approx([64 / 255, 128 / 255, 191 / 255], abs=0.05)
        assert digest(after) == digest(getattr(open_dataset("binarized:digits"), part)())
    assert drawn.shape == grey.shape
    assert drawn.test_size == grey.test_size


def test_its_base_must_be_named() -> None:
    with pytest.raises(UserError, match="binarized:NAME"):
        open_dataset("binarized")
