"""`python -m benchmarks.images`: preparing JPEGs against the plain parallel decode loop, in turns, in one run.

Faces are imitated: smooth random pictures with grain, 178x218 pixels, about 10 KB each, cropped and resized as those of
CelebA. The plain loop is what one would write with Pillow: open, convert, crop, resize, into an array; in threads and
in processes, whichever is faster here being the measure. `prepare` does the same work, and besides writes the memory
map to the disk, checksums it and keeps the journal that makes it resumable.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.datasets.decode import Decoder
from vaetune.datasets.prepare import prepare
from vaetune.datasets.prepared import Item, Recipe, find

WIDTH, HEIGHT, WINDOW, SIDE = 178, 218, 148, 64
ENOUGH = 0.9  # of the plain loop's rate
_CHUNK = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the rates as Markdown; returns 1 if preparing is slower than it may be, or decodes twice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    parser.add_argument("--images", type=int, default=5_000, help="JPEGs (5000)")
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of every route (5)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="threads or processes (cores)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vaetune-images-") as name:
        root = Path(name)
        files = make(root / "source", given.images)
        with ThreadPoolExecutor(given.jobs) as threads, ProcessPoolExecutor(given.jobs) as processes:
            return _report(compare(root, files, given.jobs, given.rounds, threads, processes), root, files, given.jobs)


def make(folder: Path, n: int) -> list[Path]:
    """JPEGs like photographs: no two alike, of smooth colours and some grain."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (10, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-8, 9, smooth.shape, np.int16)
        files.append(folder / f"{i:06d}.jpg")
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(files[-1], quality=85)
    return files


def compare(
    root: Path, files: Sequence[Path], jobs: int, rounds: int, threads: Executor, processes: Executor
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds (of this process alone) of every route in every round, after one round to warm up."""
    number = count()
    routes: dict[str, Callable[[], object]] = {
        "plain loop, threads": lambda: plain(files, threads),
        "plain loop, processes": lambda: plain(files, processes),
        "prepare": lambda: prepare(recipe(files), root / f"cache-{next(number)}", progress=False, jobs=jobs),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
    for turn in range(rounds + 1):
        names = list(routes)
        for name in names[turn % 3 :] + names[: turn % 3]:  # each comes first, second and last in turn
            wall, cpu = time.perf_counter(), time.process_time()
            routes[name]()
            if turn:
                spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return spent


def plain(files: Sequence[Path], pool: Executor) -> NDArray[np.uint8]:
    """The loop that one would write."""
    out = np.empty((len(files), 3, SIDE, SIDE), np.uint8)
    for i, images in enumerate(pool.map(decode_all, [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)])):
        out[i * _CHUNK : i * _CHUNK + len(images)] = images
    return out


def decode_all(files: Sequence[Path]) -> NDArray[np.uint8]:
    """The images [N, 3, H, W], by Pillow."""
    left, top = (WIDTH - WINDOW) // 2, (HEIGHT - WINDOW) // 2
    out = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for i, file in enumerate(files):
        with Image.open(file) as image:
            cut = image.convert("RGB").crop((left, top, left + WINDOW, top + WINDOW))
            out[i] = np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return out.transpose(0, 3, 1, 2)


def recipe(files: Sequence[Path]) -> Recipe:
    """What `prepare` is asked for: the same pixels."""
    status = [file.stat() for file in files]
    items = [Item(f.name, 0, s.st_size, s.st_mtime_ns) for f, s in zip(files, status, strict=True)]
    return Recipe(
        name="benchmark",
        split="development",
        source=files[0].parent,
        listing=lambda: items,
        shape=(3, SIDE, SIDE),
        options={},
        decode=Decoder((3, SIDE, SIDE), crop=True, window=WINDOW),
    )


def _report(spent: dict[str, list[tuple[float, float]]], root: Path, files: Sequence[Path], jobs: int) -> int:
    rates = {name: [len(files) / wall for wall, _ in turns] for name, turns in spent.items()}
    best = max((name for name in rates if name != "prepare"), key=lambda name: statistics.median(rates[name]))
    ratio = statistics.median(own / other for own, other in zip(rates["prepare"], rates[best], strict=True))
    started = time.perf_counter()
    found = find(recipe(files), [root / "cache-0"])
    opening = time.perf_counter() - started
    same = found is not None and np.array_equal(found.images, plain(files, _Here()))
    print(f"{len(files)} JPEGs of {WIDTH}x{HEIGHT} to {SIDE}x{SIDE}, {jobs} jobs, load {os.getloadavg()[0]:.1f}\n")
    print("| route | images/s, median | lowest | highest |\n|---|---|---|---|")
    for name, found_rates in rates.items():
        print(f"| {name} | {statistics.median(found_rates):.0f} | {min(found_rates):.0f} | {max(found_rates):.0f} |")
    threads, own = (statistics.median(cpu for _, cpu in spent[name]) for name in ("plain loop, threads", "prepare"))
    print(f"\nprepare / {best}, median over the rounds: {ratio:.2f} (at least {ENOUGH})")
    print(f"by CPU time, which a loaded machine disturbs less, prepare / plain loop, threads: {threads / own:.2f}")
    print(f"opened again without decoding in {opening * 1000:.1f} ms; the pixels {'agree' if same else 'DIFFER'}")
    return 0 if ratio >= ENOUGH and same else 1


class _Here(Executor):
    """No pool at all."""

    map = staticmethod(map)  # type: ignore[assignment]


if __name__ == "__main__":
    sys.exit(main())
