from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import open_dataset
from vaetune.datasets.small import some, write_folder
from vaetune.errors import UserError


def test_a_small_set_is_a_folder_that_opens(empty_roots: Path) -> None:
    base = open_dataset("fashion_mini")
    assert write_folder(base, empty_roots / "clothes", 60, 0) == (48, 12)
    dataset = open_dataset("folder:clothes,grey")
    assert dataset.classes == 10
    assert dataset.class_names[0] == "0_T-shirt_top"
    development, test = dataset.development(), dataset.sealed_test()
    assert (len(development), len(test)) == (48, 12)
    pool = base.development()
    label_of = {image.tobytes(): label for image, label in zip(pool.images, pool.labels, strict=True)}
    for images in (development, test):
        assert [label_of[image.tobytes()] for image in images.images] == images.labels.tolist()
        assert np.ptp(np.bincount(images.labels)) <= 1


def test_class_folders_keep_the_order_of_the_labels(empty_roots: Path) -> None:
    write_folder(open_dataset("shapes"), empty_roots / "shapes", 30, 0)
    assert open_dataset("folder:shapes").class_names == ("0_triangle", "1_corner", "2_heart")


def test_only_what_is_chosen_is_decoded(empty_roots: Path) -> None:
    for split in ("train", "test"):
        folder = empty_roots / "pets" / split / "cats"
        folder.mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (4, 4), (i, i, i)).save(folder / f"{i}.png")
        (folder / "broken.png").write_bytes(b"")
    dataset = open_dataset("folder:pets")
    found = some(dataset, lambda labels, groups: np.array([4, 1]))
    assert found.images[:, 0, 0, 0].tolist() == [4, 1]
    assert not (empty_roots / "prepared").exists()
    dataset.prepare("development", skip_bad=True)
    assert some(dataset, lambda labels, groups: np.array([4, 1])).images[:, 0, 0, 0].tolist() == [4, 1]


def test_people_are_not_parted(empty_roots: Path, packed) -> None:
    paths = [f"00/{person}_{i}.jpg" for person in range(30) for i in range(4)]
    people = [path[3:].split("_")[0] for path in paths]
    (empty_roots / "wiki_crop/00").mkdir(parents=True)
    for path, person in zip(paths, people, strict=True):
        Image.new("RGB", (64, 64), (8 * int(person),) * 3).save(empty_roots / "wiki_crop" / path)
    columns = {"dob": 7e5, "photo_taken": 2000.0, "gender": 1.0, "face_score": 2.0, "second_face_score": np.nan}
    numbers = {name: [value] * len(paths) for name, value in columns.items()}
    mat = packed(full_path=paths, name=people, face_location=[""] * len(paths), **numbers)
    (empty_roots / "wiki_crop/wiki.mat").write_bytes(mat)
    write_folder(open_dataset("wiki:gender"), empty_roots / "few", 40, 0)
    seen = []
    for split in ("train", "test"):
        files = (empty_roots / "few" / split / "1_male").iterdir()
        seen.append({np.asarray(Image.open(file))[0, 0, 0] // 8 for file in files})
    assert seen[0]
    assert seen[1]
    assert not seen[0] & seen[1]


def test_nothing_is_written_over(empty_roots: Path) -> None:
    (empty_roots / "mine").mkdir(parents=True)
    (empty_roots / "mine/precious").write_text("x")
    with pytest.raises(UserError, match="mine: there is something here already"):
        write_folder(open_dataset("digits"), empty_roots / "mine", 20, 0)
    with pytest.raises(UserError, match="cannot split 1437 images"):
        write_folder(open_dataset("digits"), empty_roots / "new", 5000, 0)
    assert not (empty_roots / "new").exists()
