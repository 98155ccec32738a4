"""Trees in the official layout with synthetic pictures: no face is in here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import open_dataset
from vaetune.datasets.__main__ import main
from vaetune.datasets.prepared import PreparedDataset
from vaetune.errors import UserError

NAMES = ("Male", "Smiling", "Young")
N = 12  # images; the last four are the test split; two of a person in turn


@pytest.fixture
def tree(empty_roots: Path) -> Path:
    """Twelve JPEGs of 178x218 pixels, each of its own grey: 20 times its number."""
    folder = empty_roots / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    files = [f"{i + 1:06d}.jpg" for i in range(N)]
    for i, file in enumerate(files):
        Image.new("RGB", (178, 218), (20 * i,) * 3).save(folder / "img_align_celeba" / file)
    values = [[1 if i >> k & 1 else -1 for k in range(3)] for i in range(N)]
    rows = [f"{file} " + " ".join(f"{v:2d}" for v in row) for file, row in zip(files, values, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(N), " ".join(NAMES), *rows, ""]))
    parts = [0] * 6 + [1] * 2 + [2] * 4
    (folder / "list_eval_partition.txt").write_text("".join(f"{f} {p}\n" for f, p in zip(files, parts, strict=True)))
    (folder / "identity_CelebA.txt").write_text("".join(f"{f} {7 + i // 2}\n" for i, f in enumerate(files)))
    return folder


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_official_splits_and_one_attribute(tree: Path) -> None:
    dataset = open_dataset("celeba:Smiling")
    assert dataset.class_names == ("not Smiling", "Smiling")
    assert (dataset.shape, dataset.test_size) == ((3, 64, 64), 4)
    development, test = dataset.development(), dataset.sealed_test()
    assert np.abs(development.images[:, 0, 32, 32] - 20.0 * np.arange(8)).max() <= 2
    assert np.abs(test.images[:, 0, 32, 32] - 20.0 * np.arange(8, 12)).max() <= 2
    assert development.labels.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert development.groups is not None
    assert development.groups.tolist() == [7, 7, 8, 8, 9, 9, 10, 10]


def test_several_attributes_are_combined(tree: Path) -> None:
    dataset = open_dataset("celeba:Smiling+Male@128,grey")
    assert dataset.class_names == ("not Smiling, not Male", "not Smiling, Male", "Smiling, not Male", "Smiling, Male")
    assert dataset.shape == (1, 128, 128)
    assert dataset.development().labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_the_centre_is_cut_out_then_resized(tree: Path) -> None:
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[35:183, 15:163] = np.random.default_rng(0).integers(0, 256, (148, 148, 3), np.uint8)
    path = tree / "img_align_celeba/000001.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    with Image.open(path) as image:
        cut = image.crop((15, 35, 163, 183)).resize((64, 64), Image.Resampling.BILINEAR)
    found = open_dataset("celeba:Male").development().images[0]
    assert np.array_equal(found.transpose(1, 2, 0), np.asarray(cut))


def test_a_partial_download_will_do(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in (2, 3, 12):
        (tree / f"img_align_celeba/{i:06d}.jpg").unlink()
    dataset = open_dataset("celeba:Male")
    assert "3 of the 12 images are missing" in caplog.text
    assert "3 of its images are missing" in dataset.summary
    assert dataset.test_size == len(dataset.sealed_test()) == 3
    development = dataset.development()
    assert development.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert np.abs(development.images[:, 0, 9, 9] - np.array([0.0, 60, 80, 100, 120, 140])).max() <= 2
    Image.new("RGB", (178, 218)).save(tree / "img_align_celeba/000002.jpg")  # and more may come
    assert len(open_dataset("celeba:Male").development()) == 7


def test_windows_line_ends_change_nothing(tree: Path) -> None:
    for path in tree.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert open_dataset("celeba:Smiling").development().labels.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("list_attr_celeba.txt", "12\n", "13\n", "it says 13 rows and has 12; is it cut short"),
        ("list_attr_celeba.txt", "12\n", "", "expected the number of rows"),
        ("list_attr_celeba.txt", "-1 -1 -1\n", "-1 -1\n", "line 3: 3 words, expected a file name and 3 values"),
        ("list_eval_partition.txt", "000004.jpg 0\n", "", "has 12 images and list_eval_partition.txt 11; 000004.jpg"),
        (
            "list_eval_partition.txt",
            "000004.jpg 0\n",
            "000004.jpg\n",
            "line 4: expected a file name and one of",
        ),
        ("identity_CelebA.txt", "000004.jpg 8\n", "", "identity_CelebA.txt 11; 000004.jpg is in one only"),
        (
            "identity_CelebA.txt",
            "000012.jpg 12\n",
            "000012.jpg 7\n",
            "1 identities are in the test split and in",
        ),
    ],
)
def test_wrong_lists_are_named_and_leave_nothing(tree: Path, file: str, old: str, new: str, words: str) -> None:
    change(tree / file, old, new)
    with pytest.raises(UserError, match=words):
        open_dataset("celeba:Male").development()
    assert not list(tree.parent.glob("prepared/*/*"))


@pytest.mark.parametrize("content", [b"", b"words, not pixels", None])
def test_bad_images_are_named_or_counted(tree: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "img_align_celeba/000003.jpg"
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    reason = {b"": "empty file", None: "truncated"}.get(content, "not an image")
    with pytest.raises(UserError, match=rf"(?s)1 of 8 files of development.*000003\.jpg: .*{reason}"):
        open_dataset("celeba:Male").development()
    assert main(["prepare", "celeba:Male", "--skip-bad"]) == 0
    assert "development: 7 images" in capsys.readouterr().out
    dataset = open_dataset("celeba:Male")
    assert dataset.development().labels.tolist() == [0, 1, 1, 0, 1, 0, 1]
    assert dataset.development().groups.tolist() == [7, 7, 8, 9, 9, 10, 10]


def test_images_smaller_than_the_window_are_refused(tree: Path) -> None:
    Image.new("RGB", (100, 100)).save(tree / "img_align_celeba/000001.jpg")
    with pytest.raises(UserError, match=r"000001\.jpg: 100x100 pixels, too small for a window of 148x148"):
        open_dataset("celeba:Male").development()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("Smilng", "unknown attribute 'Smilng': did you mean 'Smiling'"),
        ("Smiling@32", "size 32, expected 64 or 128"),
        ("Smiling,gray", r"write celeba:ATTRIBUTE"),
        ("Smiling,size=3", "unknown option of celeba 'size'"),
        ("@64", r"write celeba:ATTRIBUTE"),
    ],
)
def test_mistakes_in_the_name_are_explained(tree: Path, argument: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(f"celeba:{argument}")


def test_what_is_missing_is_listed(tree: Path) -> None:
    (tree / "identity_CelebA.txt").unlink()
    with pytest.raises(UserError, match=r"(?s)celeba  \(without identity_CelebA\.txt\).*by hand into .*mmlab"):
        open_dataset("celeba:Male")


def test_a_folder_without_the_images_is_named(tree: Path) -> None:
    for path in (tree / "img_align_celeba").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(UserError, match="none of the images of one of the splits"):
        open_dataset("celeba:Male")
    (tree / "img_align_celeba").rename(tree / "elsewhere")
    (tree / "img_align_celeba").write_text("no folder")
    with pytest.raises(UserError, match="expected a folder of images"):
        open_dataset("celeba:Male")


def test_a_prepared_set_opens_without_its_list_of_attributes_being_read(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaetune.datasets import prepared

    monkeypatch.setattr(prepared, "_SETTLED", -3600.0)  # as if the files had been there for long
    dataset = open_dataset("celeba:Male")
    assert isinstance(dataset, PreparedDataset)
    dataset.development()

    def unexpected(*_: object) -> None:
        raise AssertionError("listed again")

    monkeypatch.setattr("vaetune.datasets.celeba._items", unexpected)
    assert len(open_dataset("celeba:Male").development()) == 8
    (tree / "img_align_celeba/000001.jpg").unlink()
    with pytest.raises(AssertionError, match="listed again"):
        open_dataset("celeba:Male").development()
