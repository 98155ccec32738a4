from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaetune.datasets.base import digest
from vaetune.datasets.prepare import prepare
from vaetune.datasets.prepared import Item, Recipe, find, open_split
from vaetune.errors import UserError

N, SHAPE = 22, (1, 2, 2)


def recipe(source: Path, decode: Callable[[Path], np.ndarray] | None = None, n: int = N, modified: int = 0) -> Recipe:
    """Items "0".."21" whose pixels all are their own number."""
    return Recipe(
        name="numbers",
        split="train",
        source=source,
        listing=lambda: [Item(str(i), i % 3, 4, modified) for i in range(n)],
        shape=SHAPE,
        options={"crop": False},
        decode=decode or number,
    )


def number(path: Path) -> np.ndarray:
    return np.full(SHAPE, int(path.name), np.uint8)


class Counting:
    """Decodes numbers and remembers which; `bad` ones are no images."""

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad, self.seen = bad, []

    def __call__(self, path: Path) -> np.ndarray:
        self.seen.append(int(path.name))
        if int(path.name) in self.bad:
            raise UserError(f"{path.name}: not an image")
        return number(path)


def folder_of(root: Path) -> Path:
    return root / "prepared" / recipe(root).key() / "train"


def test_decodes_once_and_opens_what_is_there(tmp_path: Path) -> None:
    decode = Counting()
    images = prepare(recipe(tmp_path, decode), tmp_path, chunk=4)
    assert sorted(decode.seen) == list(range(N))
    assert images.images.shape == (N, *SHAPE)
    assert images.images[:, 0, 0, 0].tolist() == list(range(N))
    assert images.labels.tolist() == [i % 3 for i in range(N)]
    assert isinstance(images.images, np.memmap)
    assert not images.images.flags.writeable
    again = find(recipe(tmp_path, Counting(tuple(range(N)))), [tmp_path / "nothing", tmp_path])
    assert again is not None
    assert digest(again) == digest(images)
    prepare(recipe(tmp_path, decode), tmp_path)
    assert len(decode.seen) == N


def test_the_manifest_tells_what_was_done(tmp_path: Path) -> None:
    images = prepare(recipe(tmp_path, Counting(bad=(3,))), tmp_path, skip_bad=True)
    manifest = json.loads((folder_of(tmp_path) / "manifest.json").read_text())
    assert manifest["source"] == str(tmp_path)
    assert manifest["options"] == {"crop": False}
    assert manifest["count"] == N - 1
    assert manifest["sha256"] == digest(images)
    assert manifest["skipped"] == ["3: not an image"]
    assert sorted(path.name for path in folder_of(tmp_path).iterdir()) == ["images.npy", "labels.npy", "manifest.json"]
    assert sorted(path.name for path in folder_of(tmp_path).parent.iterdir()) == [".lock", "train"]


def test_changed_files_are_decoded_again(tmp_path: Path) -> None:
    prepare(recipe(tmp_path), tmp_path)
    decode = Counting()
    changed = recipe(tmp_path, decode, n=N - 1, modified=1)
    assert find(changed, [tmp_path]) is None
    assert len(prepare(changed, tmp_path)) == N - 1
    assert len(decode.seen) == N - 1


def test_other_options_or_another_source_have_another_folder(tmp_path: Path) -> None:
    first = recipe(tmp_path)
    other = Recipe(**{**vars(first), "options": {"crop": True}})
    assert len({first.key(), other.key(), recipe(tmp_path / "elsewhere").key()}) == 3


def test_bad_files_are_counted_and_named(tmp_path: Path) -> None:
    decode = Counting(bad=tuple(range(2, 9)))
    with pytest.raises(UserError, match=r"(?s)7 of 22 files of train .*--skip-bad.*  2: not an image.*and 2 more"):
        prepare(recipe(tmp_path, decode), tmp_path, chunk=4)
    assert find(recipe(tmp_path), [tmp_path]) is None
    images = prepare(recipe(tmp_path, decode), tmp_path, chunk=4, skip_bad=True)
    assert len(decode.seen) == N  # the second call decoded nothing
    kept = [i for i in range(N) if i not in decode.bad]
    assert images.images[:, 0, 0, 0].tolist() == kept
    assert images.labels.tolist() == [i % 3 for i in kept]


def test_left_out_files_are_told_at_every_opening(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(recipe(tmp_path, Counting(bad=(3, 4))), tmp_path, skip_bad=True)
    caplog.clear()
    find(recipe(tmp_path), [tmp_path])
    assert "2 unusable files were left out" in caplog.text


def test_nothing_but_bad_files_is_an_error_even_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="22 of 22"):
        prepare(recipe(tmp_path, Counting(bad=tuple(range(N)))), tmp_path, skip_bad=True)


SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from vaetune.datasets.prepare import prepare
from vaetune.datasets.prepared import Item, Recipe
root, die_at = Path(sys.argv[1]), int(sys.argv[2])
def decode(path):
    if int(path.name) == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(root / "seen", "a") as file:
        file.write(path.name + "\\n")
    return np.full((1, 2, 2), int(path.name), np.uint8)
items = [Item(str(i), i % 3, 4, 0) for i in range(22)]
recipe = Recipe(
    name="numbers", split="train", source=root, listing=lambda: items, shape=(1, 2, 2), options={"crop": False},
    decode=decode,
)
print("ready", flush=True)
sys.stdin.readline()
prepare(recipe, root, chunk=4, jobs=1)
"""


def start(root: Path, die_at: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(root), str(die_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed(root: Path, die_at: int) -> None:
    process = start(root, die_at)
    process.communicate("\n", timeout=60)
    assert process.returncode == -9


def test_a_killed_preparation_goes_on_where_it_was(tmp_path: Path) -> None:
    killed(tmp_path, die_at=14)
    assert find(recipe(tmp_path), [tmp_path]) is None
    decode = Counting()
    images = prepare(recipe(tmp_path, decode), tmp_path, chunk=4)
    assert sorted(decode.seen) == list(range(12, N))  # three chunks of four were whole
    assert images.images[:, 0, 0, 0].tolist() == list(range(N))


def test_what_never_reached_the_disk_is_decoded_again(tmp_path: Path) -> None:
    killed(tmp_path, die_at=14)
    aside = folder_of(tmp_path).parent / ".train.partial"
    pixels = np.load(aside / "images.npy", mmap_mode="r+")
    pixels[5] = 0
    with (aside / "journal.jsonl").open("a") as file:
        file.write('{"start": 12, "cr')  # and a line that was cut short
    decode = Counting()
    images = prepare(recipe(tmp_path, decode), tmp_path, chunk=4)
    assert sorted(decode.seen) == [4, 5, 6, 7, *range(12, N)]
    assert images.images[:, 0, 0, 0].tolist() == list(range(N))


def test_changed_files_discard_what_a_killed_run_left(tmp_path: Path) -> None:
    killed(tmp_path, die_at=14)
    decode = Counting()
    prepare(recipe(tmp_path, decode, modified=1), tmp_path, chunk=4)
    assert len(decode.seen) == N


def test_two_processes_at_once_decode_each_file_once(tmp_path: Path) -> None:
    both = [start(tmp_path, die_at=-1) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert sorted(map(int, (tmp_path / "seen").read_text().split())) == list(range(N))
    assert open_split(folder_of(tmp_path)).images[:, 0, 0, 0].tolist() == list(range(N))


FULL = """
import os, subprocess, sys
from pathlib import Path
import numpy as np
from vaetune.datasets.prepare import prepare
from vaetune.datasets.prepared import Item, Recipe
from vaetune.errors import UserError
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True)
def decode(path):
    if path.name == sys.argv[3] and not (disk / "other").exists():
        try:
            (disk / "other").write_bytes(bytes(1 << 20))  # somebody else takes what is left
        except OSError:
            pass
    return np.zeros((1, 64, 64), np.uint8)
items = [Item(str(i), 0, 4, 0) for i in range(int(sys.argv[2]))]
recipe = Recipe(
    name="numbers", split="train", source=disk, listing=lambda: items, shape=(1, 64, 64), options={}, decode=decode
)
try:
    prepare(recipe, disk, chunk=4)
except UserError as error:
    print(error)
(disk / "other").unlink(missing_ok=True)
print(sorted(path.name for path in disk.rglob("*") if path.is_file()))
"""


@pytest.mark.parametrize(
    ("images", "filled_at", "words"),
    [
        (100, "never", "cannot take 0.00 GiB for the decoded images: No space left"),
        (20, "10", "No space left on device"),
    ],
    ids=["from the start", "half-way"],
)
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, images: int, filled_at: str, words: str) -> None:
    """On a real file system of 256 KiB, in a namespace of its own."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    command = [*alone, sys.executable, "-c", FULL, str(tmp_path), str(images), filled_at]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert words in out
    assert ("cannot take" in out) == (images == 100)
    assert "--data-root" in out
    assert out.splitlines()[-1] == "['.lock']"


SHARED = """
import sys
from pathlib import Path
from vaetune.datasets.prepared import open_split
images = open_split(Path(sys.argv[1])).images
print(int(images.sum()), flush=True)
sys.stdin.readline()
"""


def test_processes_share_the_pages(tmp_path: Path) -> None:
    big = Recipe(
        name="big",
        split="train",
        source=tmp_path,
        listing=lambda: [Item(str(i), 0, 0, 0) for i in range(64)],
        shape=(3, 128, 128),
        options={},
        decode=lambda path: np.full((3, 128, 128), int(path.name), np.uint8),
    )
    images = prepare(big, tmp_path).images
    command = [sys.executable, "-c", SHARED, str(Path(images.filename).parent)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(process.stdout.readline()) for process in both] == [int(images.sum())] * 2
    kilobytes = [mapped(process.pid, images.filename) for process in both]
    for process in both:
        process.communicate("\n", timeout=60)
    for found in kilobytes:
        assert found["Rss"] >= images.nbytes // 1024
        assert found["Private_Dirty"] == 0
        assert found["Pss"] <= found["Rss"] / 2


def mapped(pid: int, path: str) -> dict[str, int]:
    """What the kernel counts of a process's mapping of the file, in KiB."""
    lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
    fields = (line.split() for line in lines[start + 1 : start + 20])
    return {words[0].rstrip(":"): int(words[1]) for words in fields if len(words) == 3 and words[2] == "kB"}


def test_what_is_watched_saves_the_listing(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    os.utime(folder, (1, 1))
    watching = Recipe(**{**vars(recipe(tmp_path)), "watched": (folder,)})
    prepare(watching, tmp_path)

    def unexpected() -> list[Item]:
        raise AssertionError("listed again")

    unlisted = Recipe(**{**vars(recipe(tmp_path)), "watched": (folder,), "listing": unexpected})
    assert find(unlisted, [tmp_path], trust_times=True) is not None
    with pytest.raises(AssertionError, match="listed again"):
        find(unlisted, [tmp_path])
    os.utime(folder, (2, 2))
    with pytest.raises(AssertionError, match="listed again"):
        find(unlisted, [tmp_path], trust_times=True)


def test_times_that_are_too_recent_say_nothing(tmp_path: Path) -> None:
    watching = Recipe(**{**vars(recipe(tmp_path)), "watched": (tmp_path,)})
    assert watching.stamp() == ""
    os.utime(tmp_path, (1, 1))
    assert len(watching.stamp()) == 64
    tmp_path.rmdir()
    assert watching.stamp() == ""


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", lambda data: data[:-1]),
        ("images.npy", lambda data: b""),
        ("images.npy", lambda data: data.replace(b"22", b"21")[:-4]),
        ("labels.npy", lambda data: data[:-1]),
        ("manifest.json", lambda data: data[:-9]),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    prepare(recipe(tmp_path), tmp_path)
    path = folder_of(tmp_path) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"numbers-\w+/train.*prepare it again"):
        find(recipe(tmp_path), [tmp_path])


def test_an_unknown_failure_of_the_decoder_is_not_swallowed(tmp_path: Path) -> None:
    def broken(path: Path) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prepare(recipe(tmp_path, broken), tmp_path, skip_bad=True)
