from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets import CATALOGUE, open_dataset
from vaetune.datasets.base import Images, digest
from vaetune.errors import UserError

PACKAGED = (
    "fashion_mini",
    "digits",
    "shapes",
    "four_points",
    "conjoint_toy",
    "background:noise,digits",
    "background:patches,digits",
    "rotated:digits",
    "pairs:digits::rotated:digits",
)
HEAVY = ("torch", "torchvision", "sklearn", "scipy", "pandas", "pyarrow", "ray", "mlflow")


def test_a_typo_gets_the_near_names() -> None:
    with pytest.raises(UserError, match=r"'fashion_mnits'.*did you mean 'fashion_mnist'"):
        open_dataset("fashion_mnits")


@pytest.mark.parametrize("name", ["digits:8", "digits:"])
def test_an_argument_where_none_belongs_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=r"write digits$"):
        open_dataset(name)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_module_has_a_summary(name: str) -> None:
    module = importlib.import_module(f"vaetune.datasets.{CATALOGUE[name].module}")
    assert module.SUMMARY
    assert callable(module.dataset)


@pytest.mark.parametrize("name", PACKAGED)
def test_what_every_dataset_promises(name: str) -> None:
    dataset = open_dataset(name)
    assert dataset.name == name
    assert dataset.summary
    assert dataset.licence
    assert dataset.test_size == len(dataset.sealed_test())
    assert dataset.classes == len(set(dataset.class_names))
    for images in (dataset.development(), dataset.sealed_test()):
        assert images.images.shape[1:] == dataset.shape
        assert len(images) == len(images.images) == len(images.labels)
        assert images.labels.min() >= 0
        assert images.labels.max() == dataset.classes - 1
    assert digest(dataset.development()) == digest(dataset.development()) != digest(dataset.sealed_test())
    assert CATALOGUE[name.partition(":")[0]].training_images in (None, len(dataset.development()))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_sizes_are_those_of_the_files(name: str) -> None:
    module = importlib.import_module(f"vaetune.datasets.{name}")
    assert CATALOGUE[name].training_images == module.SOURCE.files[0].shape[0]


def test_the_digest_sees_pixels_labels_and_shape() -> None:
    pixels, labels = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 1, 0, 1])
    changed = pixels.copy()
    changed[-1, 0, 1, 1] = 1
    others = [Images(changed, labels), Images(pixels, labels[::-1]), Images(pixels.reshape(4, 2, 2, 1), labels)]
    digests = [digest(images) for images in (Images(pixels, labels), *others)]
    assert len(set(digests)) == 4
    assert digest(Images(np.asfortranarray(pixels), labels)) == digests[0]
    assert digests[0] == "c16a0d361a9dcc369e8f94b910c9f78cd6cd59a6da4919ef278b0e16a015369a"


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 1, 2, 2), np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int32)),
    ],
)
def test_other_types_and_lengths_are_refused(images: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        Images(images, labels)


def imported(code: str) -> set[str]:
    """Those of the heavy packages that a fresh interpreter holds after `code`."""
    script = f"import sys\n{code}\nprint(*(set({HEAVY!r}) & set(sys.modules)))"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def test_nothing_heavy_is_imported() -> None:
    read = "\n".join(f"d = open_dataset({name!r}); d.development(); d.sealed_test()" for name in PACKAGED)
    modules = "\n".join(
        f"import vaetune.datasets.{path.stem}"
        for path in Path(sys.modules["vaetune.datasets"].__path__[0]).glob("*.py")
        if not path.stem.startswith("__") and path.stem != "batches"  # torch is what it is for
    )
    assert imported(f"from vaetune.datasets import open_dataset\n{read}\n{modules}") == set()


def test_the_import_test_would_notice() -> None:
    assert imported("import scipy") == {"scipy"}
