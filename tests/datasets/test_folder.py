from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import open_dataset
from vaetune.datasets.folder import ImageFolder
from vaetune.errors import UserError


@pytest.fixture
def tree(empty_roots: Path) -> Path:
    """Two classes; three training and two test images each, 6x4 pixels; every image has a grey of its own."""
    grey = 0
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cats", "dogs"):
            folder = empty_roots / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (6, 4), (grey, grey, grey)).save(folder / f"{i}.png")
                grey += 10
    return empty_roots / "pets"


def test_the_splits_are_the_folders_and_the_classes_their_sorted_names(tree: Path) -> None:
    dataset = open_dataset("folder:pets")
    assert dataset.name == "folder:pets"
    assert dataset.class_names == ("cats", "dogs")
    assert dataset.shape == (3, 4, 6)
    assert dataset.test_size == 4
    development, test = dataset.development(), dataset.sealed_test()
    assert development.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert development.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.images[:, 2, 3, 5].tolist() == [60, 70, 80, 90]
    assert test.labels.tolist() == [0, 0, 1, 1]


def test_a_size_crops_and_grey_gives_one_channel(tree: Path) -> None:
    dataset = open_dataset("folder:pets@2,grey")
    assert dataset.shape == (1, 2, 2)
    assert dataset.development().images.shape == (6, 1, 2, 2)


def test_validation_folders_join_development(tree: Path) -> None:
    (tree / "train").rename(tree / "val")
    for name in ("cats", "dogs"):
        (tree / "train" / name).mkdir(parents=True)
        Image.new("RGB", (6, 4), (200, 0, 0)).save(tree / "train" / name / "x.png")
    development = open_dataset("folder:pets").development()
    assert development.images[:, 0, 0, 0].tolist() == [200, 200, 0, 10, 20, 30, 40, 50]
    assert development.labels.tolist() == [0, 1, 0, 0, 0, 1, 1, 1]


def test_the_second_opening_reads_no_image(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_dataset("folder:pets@2").development()

    def unexpected(*args: object) -> None:
        raise AssertionError("opened an image")

    monkeypatch.setattr(Image, "open", unexpected)
    assert len(open_dataset("folder:pets@2").development()) == 6


def test_development_does_not_decode_the_test_split(tree: Path) -> None:
    (tree / "test/cats/0.png").write_bytes(b"")
    dataset = open_dataset("folder:pets")
    assert len(dataset.development()) == 6
    with pytest.raises(UserError, match=r"(?s)1 of 4 files of test.*0\.png: empty file"):
        dataset.sealed_test()


def test_bad_files_can_be_left_out(tree: Path) -> None:
    (tree / "train/cats/note.txt").write_text("cats are nice")
    (tree / "train/cats/.hidden").write_text("ignored")
    dataset = open_dataset("folder:pets")
    assert isinstance(dataset, ImageFolder)
    with pytest.raises(UserError, match=r"1 of 7 files of development"):
        dataset.development()
    assert len(dataset.prepare("development", skip_bad=True)) == 6
    assert len(open_dataset("folder:pets").development()) == 6


def test_a_new_file_is_noticed(tree: Path) -> None:
    assert len(open_dataset("folder:pets").development()) == 6
    Image.new("RGB", (6, 4)).save(tree / "train/cats/new.png")
    assert len(open_dataset("folder:pets").development()) == 7


def test_images_of_other_sizes_need_a_size(tree: Path) -> None:
    Image.new("RGB", (8, 8)).save(tree / "train/dogs/large.png")
    with pytest.raises(UserError, match=r"large\.png: 8x8 pixels, the first image has 6x4; give a size"):
        open_dataset("folder:pets").development()
    assert len(open_dataset("folder:pets@4").development()) == 7


@pytest.mark.parametrize("argument", ["pets@", "pets@0", "pets@x", "pets,gray", "@4", "pets@4,grey,grey"])
def test_a_name_that_cannot_be_read_is_an_error(tree: Path, argument: str) -> None:
    with pytest.raises(UserError, match="write folder:NAME, folder:NAME@64"):
        open_dataset(f"folder:{argument}")


def test_a_name_is_needed() -> None:
    with pytest.raises(UserError, match=r"write folder:NAME"):
        open_dataset("folder")


def test_a_missing_tree_lists_places_and_layout(tree: Path, tmp_path: Path) -> None:
    (tree / "test").rename(tree / "tset")
    with pytest.raises(UserError, match=r"(?s)pets  \(without test\).*no such folder.*train/<class>/"):
        open_dataset("folder:pets")


def test_classes_must_agree(tree: Path) -> None:
    (tree / "test/dogs").rename(tree / "test/hounds")
    with pytest.raises(UserError, match="same classes; not in all of them: dogs, hounds"):
        open_dataset("folder:pets")


def test_an_empty_class_is_named(tree: Path) -> None:
    for path in (tree / "train/dogs").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="development split has no images of: dogs"):
        open_dataset("folder:pets").development()


def test_no_classes_and_no_images_are_errors(tree: Path) -> None:
    for name in ("cats", "dogs"):
        for path in (tree / "train" / name).iterdir():
            path.unlink()
    with pytest.raises(UserError, match="no images in the class folders"):
        open_dataset("folder:pets")
    for name in ("cats", "dogs"):
        (tree / "train" / name).rmdir()
    with pytest.raises(UserError, match="one folder a class, found none"):
        open_dataset("folder:pets")


def test_a_data_root_that_cannot_be_written_is_passed_over(tree: Path, tmp_path: Path) -> None:
    (tree.parent / "prepared").mkdir()
    unwritable = tmp_path / "file"
    unwritable.write_text("")
    images = open_dataset("folder:pets", unwritable).development()
    assert Path(images.images.filename).is_relative_to(tree.parent / "prepared")
    assert np.array_equal(images.labels, [0, 0, 0, 1, 1, 1])
