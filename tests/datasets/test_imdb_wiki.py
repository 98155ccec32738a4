"""Trees in the official layout with synthetic pictures: no face is in here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import open_dataset
from vaetune.datasets.__main__ import main
from vaetune.errors import UserError

PEOPLE, EACH = 40, 3


Write = Callable[..., None]


@pytest.fixture
def write(packed: Callable[..., bytes]) -> Write:
    """Writes metadata for the paths: of each person's own gender, of ages 15, 25, … in turn."""

    def write(folder: Path, paths: list[str], **columns: list[object]) -> None:
        people = [int(path[3:].split("_")[0]) for path in paths]
        table = {
            "dob": [366.0 + 365.25 * 1980] * len(paths),
            "photo_taken": [1995 + 10 * (i % 7) for i in range(len(paths))],
            "full_path": paths,
            "gender": [float(person % 2) for person in people],
            "name": [f"person {person}" for person in people],
            "face_location": [""] * len(paths),
            "face_score": [3.0] * len(paths),
            "second_face_score": [np.nan] * len(paths),
        }
        (folder / "wiki.mat").write_bytes(packed(**(table | columns)))

    return write


@pytest.fixture
def tree(empty_roots: Path, write: Write) -> Path:
    """Forty people with three images each, of their own grey; ages 15, 25, … in turn; sizes differ."""
    folder = empty_roots / "wiki_crop"
    rows = [(person, image) for person in range(PEOPLE) for image in range(EACH)]
    paths = [f"{person % 7:02d}/{person}_{image}.jpg" for person, image in rows]
    for (person, image), path in zip(rows, paths, strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + image, 40), (6 * person,) * 3).save(folder / path)
    write(folder, paths)
    return folder


def read_both(name: str) -> None:
    dataset = open_dataset(name)
    dataset.development()
    dataset.sealed_test()


def people_of(images: np.ndarray) -> set[int]:
    return set(np.rint(images[:, 0, 32, 32] / 6).astype(int).tolist())


def test_people_are_divided_not_images(tree: Path) -> None:
    dataset = open_dataset("wiki:gender")
    assert dataset.class_names == ("female", "male")
    development, test = dataset.development(), dataset.sealed_test()
    assert not people_of(development.images) & people_of(test.images)
    assert people_of(development.images) | people_of(test.images) == set(range(PEOPLE))
    assert len(test) == dataset.test_size == EACH * len(people_of(test.images))
    for images in (development, test):
        person = np.rint(images.images[:, 0, 32, 32] / 6)
        assert np.array_equal(images.labels, person % 2)
        assert images.groups is not None
        assert len({*zip(images.groups.tolist(), person.tolist(), strict=True)}) == len(people_of(images.images))


def test_a_person_stays_where_it_is(tree: Path, write: Write) -> None:
    small, large = (people_of(open_dataset(f"wiki:gender,test={share}").sealed_test().images) for share in (0.2, 0.5))
    assert small < large
    assert 4 <= len(small) <= 13
    assert 13 <= len(large) <= 27
    paths = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.jpg"))
    write(tree, paths[::2])
    assert people_of(open_dataset("wiki:gender").sealed_test().images) <= small


def test_ages_are_binned(tree: Path) -> None:
    dataset = open_dataset("wiki:age@32,bins=20-40-60,test=0.4")
    assert dataset.class_names == ("under 20", "20 to 39", "40 to 59", "60 and over")
    labels = np.concatenate([dataset.development().labels, dataset.sealed_test().labels])
    ages = 15 + 10 * (np.arange(PEOPLE * EACH) % 7)
    assert np.bincount(labels).tolist() == np.bincount(np.digitize(ages, [20, 40, 60])).tolist()
    assert open_dataset("wiki:age,bins=18").class_names == ("under 18", "18 and over")


def test_rows_are_dropped_and_counted(tree: Path, write: Write) -> None:
    paths = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.jpg"))
    n = len(paths)
    score = [3.0] * n
    score[0], score[1], score[2] = -np.inf, 0.5, np.nan
    second = [np.nan] * n
    second[3], second[4] = 0.8, 2.5
    gender = [1.0] * n
    gender[5] = gender[6] = np.nan
    write(tree, paths, face_score=score, second_face_score=second, gender=gender)
    summary = open_dataset("wiki:gender").summary
    for words in (
        f"{n - 7} of {n} rows are used",
        "2 without a gender",
        "2 without a face",
        "1 with a face that scores below 1",
        "2 with a second face",
    ):
        assert words in summary
    sizes = {}
    for name in ("wiki:gender", "wiki:gender,second=any", "wiki:gender,second=1.0", "wiki:gender,min_score=0.1"):
        dataset = open_dataset(name)
        sizes[name] = len(dataset.development()) + len(dataset.sealed_test()) - n
    assert list(sizes.values()) == [-7, -5, -6, -6]
    assert "2 without a gender" not in open_dataset("wiki:age").summary


def test_wrong_dates_are_dropped(tree: Path, write: Write) -> None:
    paths = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.jpg"))
    taken = [2010.0] * len(paths)
    taken[0], taken[1], taken[2] = np.nan, 1900, 2300
    write(tree, paths, photo_taken=taken)
    summary = open_dataset("wiki:age").summary
    assert "1 without a date of birth or photo" in summary
    assert "2 with an age outside 0 to 100" in summary


def test_a_partial_download_will_do(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = open_dataset("wiki:gender").test_size
    dataset = open_dataset("wiki:gender")
    gone = sorted(tree.rglob("*.jpg"))[::3]
    for path in gone:
        path.unlink()
    dataset = open_dataset("wiki:gender")
    assert dataset.test_size < before
    assert len(dataset.development()) + len(dataset.sealed_test()) == PEOPLE * EACH - len(gone)
    assert "usable images are missing" in caplog.text


@pytest.mark.parametrize("content", [b"", b"words, not pixels", None])
def test_bad_images_are_named_or_counted(tree: Path, content: bytes | None) -> None:
    path = tree / "00/0_0.jpg"
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(UserError, match=r"(?s)1 of \d+ files of (development|test).*0_0\.jpg: "):
        read_both("wiki:gender")
    assert main(["prepare", "wiki:gender", "--skip-bad"]) == 0
    dataset = open_dataset("wiki:gender")
    assert len(dataset.development()) + len(dataset.sealed_test()) == PEOPLE * EACH - 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wiki:sex", "unknown target of wiki 'sex'"),
        ("wiki:age,bin=3", "unknown option of wiki 'bin': did you mean 'bins'"),
        ("wiki:age,bins=30-20", "expected rising ages"),
        ("wiki:age,bins=a", "invalid literal"),
        ("wiki:gender,test=1", "expected a share between 0 and 1"),
        ("wiki:gender,min_score=9", "of 120 rows 0 are usable"),
        ("wiki:gender,test=0.0001", "too few for two splits"),
        ("imdb:gender", r"(?s)imdb_crop  \(no such folder\).*imdb_crop\.tar \| tar"),
        ("wiki", "write wiki:gender|age"),
    ],
)
def test_mistakes_are_explained(tree: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words.replace("|age", r"\|age")):
        open_dataset(name)


def test_a_folder_without_images_is_named(tree: Path) -> None:
    for path in tree.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(UserError, match=r"wiki_crop: none of its \d+ usable images is there"):
        open_dataset("wiki:gender").development()
