from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets import open_dataset


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAETUNE_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_files_are_drawn_once_and_read_as_any_folder(root: Path) -> None:
    drawn = open_dataset("drawn_faces")
    files = sorted((root / "drawn_faces").rglob("*.jpg"))
    assert len(files) == 600
    before = [file.stat().st_mtime_ns for file in files]
    images = drawn.development()
    assert (images.images.shape, drawn.class_names) == ((450, 3, 32, 32), ("serious", "smiling"))
    assert np.bincount(images.labels).tolist() == [225, 225]
    again = open_dataset("drawn_faces")
    assert [file.stat().st_mtime_ns for file in files] == before
    np.testing.assert_array_equal(
        again.sealed_test().images, open_dataset("folder:drawn_faces@32").sealed_test().images
    )


def test_a_smile_can_be_seen(root: Path) -> None:
    """In the mean the classes differ most where mouths are."""
    images = open_dataset("drawn_faces").development()
    means = [images.images[images.labels == label].mean(0) for label in (0, 1)]
    difference = np.abs(means[0] - means[1]).mean(0)
    row, column = np.unravel_index(difference.argmax(), difference.shape)
    assert 17 <= row <= 24
    assert 9 <= column <= 23
