from __future__ import annotations

import numpy as np

from vaetune.datasets import open_dataset


def test_each_label_is_one_image_with_one_white_pixel() -> None:
    dataset = open_dataset("four_points")
    for images in (dataset.development(), dataset.sealed_test()):
        flat = images.images.reshape(len(images), 4)
        assert flat.sum(axis=1).tolist() == [255] * len(images)
        assert np.array_equal(flat.argmax(axis=1), images.labels)
        assert np.ptp(np.bincount(images.labels)) == 0
