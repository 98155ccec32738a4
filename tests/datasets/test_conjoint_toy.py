from __future__ import annotations

import numpy as np

from vaetune.datasets import open_dataset
from vaetune.datasets.factors import FactoredDataset


def test_sixteen_points_with_one_component_on_in_each_part() -> None:
    dataset = open_dataset("conjoint_toy")
    assert isinstance(dataset, FactoredDataset)
    for images, factors in zip((dataset.development(), dataset.sealed_test()), dataset.factors(), strict=True):
        points = images.images.reshape(-1, 8)
        kinds, counts = np.unique(points, axis=0, return_counts=True)
        assert len(kinds) == 16
        assert np.ptp(counts) == 0
        assert np.array_equal(points[:, :4].argmax(1), images.labels)
        assert np.array_equal(np.stack([points[:, :4].argmax(1), points[:, 4:].argmax(1)], 1), factors)
        assert ((points == 255).sum(1) == 2).all()
        assert ((points == 0).sum(1) == 6).all()
        assert np.array_equal(dataset.render(factors), images.images)
