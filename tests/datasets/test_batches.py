from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from vaetune.datasets import batches
from vaetune.datasets.batches import Pixels, Resident, Streamed, pixels, shared

N, SHAPE = 50, (3, 5, 4)


@pytest.fixture
def images(tmp_path: Path) -> np.memmap:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (N, *SHAPE), np.uint8))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture(params=["resident", "streamed from a file", "streamed from memory"])
def source(request: pytest.FixtureRequest, images: np.memmap) -> Pixels:
    if request.param == "resident":
        return Resident(shared(images))
    return Streamed(images if "file" in request.param else np.array(images), "cpu")


@pytest.mark.parametrize("size", [1, 7, 50, 64])
def test_batches_are_the_images_in_the_order_asked_for(source: Pixels, images: np.memmap, size: int) -> None:
    index = torch.stack([torch.randperm(N, generator=torch.Generator().manual_seed(r)) for r in range(3)])
    found = list(source.batches(index, size))
    assert source.shape == images.shape
    assert [batch.shape[1] for batch in found] == [min(size, N - start) for start in range(0, N, size)]
    whole = torch.cat(found, 1)
    assert whole.dtype == torch.uint8
    assert np.array_equal(whole.numpy(), images[index.numpy()])


def test_a_source_serves_again_and_again(source: Pixels, images: np.memmap) -> None:
    index = torch.tensor([[3, 1, 4, 1, 5]])
    for _ in range(2):
        assert np.array_equal(torch.cat(list(source.batches(index, 2)), 1)[0].numpy(), images[[3, 1, 4, 1, 5]])


def test_no_images_are_no_batches(source: Pixels) -> None:
    assert sum(batch.numel() for batch in source.batches(torch.empty((2, 0), dtype=torch.int64), 4)) == 0


def test_a_batch_kept_is_not_written_over(images: np.memmap) -> None:
    found = list(Streamed(images, "cpu").batches(torch.arange(N)[None], 2))
    assert np.array_equal(torch.cat(found, 1)[0].numpy(), images)


def test_a_wrong_index_is_an_error_where_it_is_used(source: Pixels) -> None:
    for wrong in (N, -1):
        with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
            list(source.batches(torch.tensor([[0, wrong]]), 1))


def test_leaving_early_ends_the_readers(images: np.memmap) -> None:
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    stream = Streamed(images, "cpu").batches(torch.arange(N)[None], 2)
    next(stream)
    assert threading.active_count() > threads
    stream.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, files)


def test_reading_stays_ahead_but_not_far(images: np.memmap, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Streamed._batch

    def counted(self: Streamed, reader: object, part: torch.Tensor) -> torch.Tensor:
        read.append(int(part[0, 0]))
        return original(self, reader, part)

    monkeypatch.setattr(Streamed, "_batch", counted)
    stream = Streamed(images, "cpu").batches(torch.arange(N)[None], 2)
    next(stream)
    stream.close()
    assert 1 <= len(read) <= 1 + batches._AHEAD
    assert sorted(read) == list(range(0, 2 * len(read), 2))


def test_a_file_that_was_cut_short_is_an_error(images: np.memmap) -> None:
    source = Streamed(images, "cpu")
    os.truncate(images.filename, os.path.getsize(images.filename) - 1)
    with pytest.raises(EOFError, match="has been cut short"):
        list(source.batches(torch.tensor([[N - 1]]), 1))


def test_what_fits_is_resident_and_what_does_not_is_streamed(
    images: np.memmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "free_memory", lambda device: 2 * images.nbytes)
    resident = pixels(images, "cpu")
    assert isinstance(resident, Resident)
    assert resident.images.data_ptr() == images.ctypes.data  # the map itself, not a copy
    assert isinstance(pixels(images, "cpu", share=0.49), Streamed)


def test_free_memory_is_less_than_all() -> None:
    total = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 0 < batches.free_memory(torch.device("cpu")) < total * 1024


def test_streaming_keeps_no_copy_of_the_map(tmp_path: Path) -> None:
    images = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.uint8, shape=(16_000, 3, 64, 64))
    list(Streamed(images, "cpu").batches(torch.arange(640)[None], 64))  # what the allocator keeps for later is no copy
    before = anonymous()
    for _ in Streamed(images, "cpu").batches(torch.arange(16_000)[None], 64):
        pass
    assert anonymous() - before < images.nbytes / 4


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_batches_are_the_same(images: np.memmap) -> None:
    index = torch.randperm(N, device="cuda")[None]
    for source in (Streamed(images, "cuda"), Resident(shared(images).cuda())):
        found = torch.cat(list(source.batches(index, 7)), 1)
        assert found.is_cuda
        assert np.array_equal(found[0].cpu().numpy(), images[index[0].cpu().numpy()])
