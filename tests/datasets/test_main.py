from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets import CATALOGUE
from vaetune.datasets.__main__ import main
from vaetune.datasets.base import Images
from vaetune.datasets.sheet import chosen, contact_sheet


@pytest.fixture
def pets(empty_roots: Path) -> Path:
    """Two classes of two training images and one test image."""
    for split, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(("cats", "dogs")):
            folder = empty_roots / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (6, 4), (100 * label, i, 0)).save(folder / f"{i}.png")
    return empty_roots / "pets"


def test_list_says_what_is_here(empty_roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    *lines, _, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CATALOGUE)
    assert "`fetch NAME`" in last
    state = {line.split()[0].partition(":")[0]: line.split()[1] for line in lines}
    assert (state["fashion_mini"], state["digits"]) == ("here", "here")
    assert {state[name] for name in ("mnist", "cifar10", "svhn", "usps", "celeba", "imdb", "wiki")} == {"missing"}


def test_check_prints_counts_balance_and_digests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "fashion_mini"]) == 0
    out = capsys.readouterr().out
    assert "development: 5,000 images of 1x28x28" in out
    assert "ee471171d5efecc0235ca47bdb73603fb4a120eee69189c8bb2a4a76cb22747a" in out
    assert out.count("  sneaker ") == 2
    assert "500   10.0%" in out
    assert "in both splits: 0 of 10,000 test images occur" in out


def test_check_notices_changed_pixels(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "folder:pets"]) == 0
    out = capsys.readouterr().out
    assert "development: 4 images in" in out
    assert main(["check", "folder:pets"]) == 0
    pixels = np.load(Path(out.split(" in ")[1].splitlines()[0]) / "images.npy", mmap_mode="r+")
    pixels[0, 0, 0, 0] += 1
    pixels.flush()
    assert main(["check", "folder:pets"]) == 2
    assert "changed since they were prepared" in capsys.readouterr().err


def test_prepare_leaves_out_bad_files_when_told(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "train/cats/bad.jpg").write_text("no picture")
    assert main(["prepare", "folder:pets"]) == 2
    assert "bad.jpg: not an image" in capsys.readouterr().err
    assert main(["prepare", "folder:pets", "--skip-bad"]) == 0
    assert "development: 4 images" in capsys.readouterr().out


def test_what_needs_no_preparing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "digits"]) == 0
    assert capsys.readouterr().out == "digits needs no preparing\n"


def test_fetch_of_what_is_here_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "digits"]) == 0
    assert capsys.readouterr().out == "digits is here\n"


def test_sample_writes_a_contact_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sheet.png"
    assert main(["sample", "digits", "--output", str(target), "--per-class", "3"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    with Image.open(target) as sheet:
        assert sheet.size == (110 + 3 * 50, 10 * 50)


def test_the_sheet_holds_each_class_in_its_row() -> None:
    images = Images(np.array([10, 20, 200], np.uint8).reshape(3, 1, 1, 1).repeat(3, 1), np.array([0, 0, 1]))
    sheet = np.asarray(contact_sheet(images, ("a", "b"), per_class=2))
    assert sheet.shape == (100, 110 + 100, 3)
    assert {int(sheet[20, 120, 0]), int(sheet[20, 170, 0])} == {10, 20}
    assert sheet[70, 120].tolist() == [200] * 3
    assert sheet[70, 170].tolist() == [255] * 3  # class b has only one


def test_random_images_of_each_class_are_chosen() -> None:
    labels = np.array([0, 1, 0, 0, 2, 0])
    found = chosen(labels, 4, per_class=2, seed=0)
    assert labels[found].tolist() == [0, 0, 1, 2]
    assert len({*found.tolist()}) == 4
    assert len({tuple(chosen(labels, 1, 2, seed).tolist()) for seed in range(20)}) > 3


def test_sample_writes_a_small_set_that_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "digits", "--folder", str(tmp_path / "few"), "--images", "50"]) == 0
    assert "40 training and 10 test images: folder:few with --data-root" in capsys.readouterr().out
    assert main(["check", "folder:few,grey", "--data-root", str(tmp_path)]) == 0
    assert "development: 40 images of 1x8x8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lits"], "unknown command 'lits': did you mean 'list'"),
        (["check", "fashion_mnits"], "did you mean 'fashion_mnist'"),
        (["check", "mnist"], "was not found"),
        (["sample", "digits", "--per-class", "0"], "--per-class 0"),
        (["sample", "digits", "--images", "0"], "--images 0"),
        (["sample", "digits", "--output", "/no/such/folder/x.png"], "cannot write /no/such/folder/x.png: No such file"),
    ],
)
def test_mistakes_are_explained(
    empty_roots: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert captured.out == ""


def test_an_unknown_option_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", "digits", "--skip-bda"])
    assert caught.value.code == 2


def test_it_runs_as_a_module_and_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "vaetune.datasets", "--help"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "contact sheet" in out
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1


def test_a_reader_that_closes_early_is_no_error() -> None:
    command = [sys.executable, "-m", "vaetune.datasets", "check", "digits"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 0
