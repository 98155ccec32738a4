"""Batches of pixels at device speed: from a tensor that lies on the device, or streamed from a memory map.

The one file of this package that imports torch; only the training engine does so in turn. Both sources have one
interface, and give the same bytes in the same order:

    source = pixels(images.images, device)
    for batch in source.batches(index, size):      # index int64 [R, N] -> uint8 [R, size, C, H, W] on the device
    for batch in Part(source, index[0]).split(size):   # uint8 [size, C, H, W]
"""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AHEAD, _READERS = 8, 4  # batches that are read while one is used, and threads that read them
Read = Callable[[Tensor, Tensor], object]
_SHARE = 0.5  # of the free memory: the rest is for the model and whatever else runs there


class Pixels(Protocol):
    """Images that batches are taken from; `shape` is (N, C, H, W)."""

    shape: tuple[int, ...]

    def batches(self, index: Tensor, size: int) -> Iterator[Tensor]:
        """The images at `index` int64 [R, N] in turn, uint8 [R, `size` or what is left, C, H, W] on the device."""


@final
class Part:
    """Some of the images in a given order: has a length and, like a tensor, splits into batches."""

    def __init__(self, source: Pixels, index: Tensor) -> None:
        self.source, self.index = source, index

    def __len__(self) -> int:
        return len(self.index)

    def split(self, size: int) -> Iterator[Tensor]:
        """The images in turn, uint8 [`size` or what is left, C, H, W] on the device."""
        for batch in self.source.batches(self.index[None], size):
            yield batch[0]


@final
class Resident:
    """All images on the device."""

    def __init__(self, images: Tensor) -> None:
        assert images.dtype == torch.uint8
        assert images.ndim == 4
        self.images, self.shape = images, tuple(images.shape)
        self._rows = images.flatten(1)  # whole rows are gathered several times faster than parts of four dimensions

    def batches(self, index: Tensor, size: int) -> Iterator[Tensor]:
        """See `Pixels`."""
        for part in index.to(self.images.device).split(size, 1):  # type: ignore[no-untyped-call]
            yield self._rows.index_select(0, part.flatten()).view(*part.shape, *self.shape[1:])


@final
class Streamed:
    """Images that stay where they are: threads read ahead, into pinned memory if the device is a GPU.

    Of a memory map rows are read from its file. Touching its pages instead would make the kernel read what lies around
    each of them too, and, when memory is short, throw it away again before it is used.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device | str) -> None:
        self.images, self.device, self.shape = images, torch.device(device), images.shape

    def batches(self, index: Tensor, size: int) -> Iterator[Tensor]:
        """See `Pixels`."""
        rows = index.cpu()
        if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < len(self.images):
            raise IndexError(f"an index is out of range of {len(self.images)} images")
        parts = iter(rows.split(size, 1))  # type: ignore[no-untyped-call]
        with _reader(self.images) as read, ThreadPoolExecutor(_READERS) as pool:
            ahead: deque[Future[Tensor]] = deque()
            try:
                ahead.extend(pool.submit(self._batch, read, part) for part in islice(parts, _AHEAD))
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(pool.submit(self._batch, read, part) for part in islice(parts, 1))
                    yield batch.to(self.device, non_blocking=True)
            finally:
                for future in ahead:
                    future.cancel()

    def _batch(self, read: Read, part: Tensor) -> Tensor:
        """One batch in host memory; pinned blocks are not used again before their copy to the device has ended."""
        pinned = self.device.type == "cuda"
        batch = torch.empty((*part.shape, *self.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        read(part.flatten(), batch.view(part.numel(), math.prod(self.shape[1:])))
        return batch


@contextmanager
def _reader(images: NDArray[np.uint8]) -> Iterator[Read]:
    """Gives a function that copies the images at an index [N] into a tensor [N, C·H·W]."""
    if not isinstance(images, np.memmap):
        table = shared(images).flatten(1)
        yield lambda index, out: torch.index_select(table, 0, index, out=out)
        return
    assert images.filename is not None
    length, start = images[:1].nbytes, images.offset
    file = os.open(images.filename, os.O_RDONLY)

    def read(index: Tensor, out: Tensor) -> None:
        for row, place in zip(out.numpy(), index.tolist(), strict=True):
            if os.preadv(file, [row], start + place * length) != length:
                raise EOFError(f"{images.filename} has been cut short")

    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        yield read
    finally:
        os.close(file)


def pixels(images: NDArray[np.uint8], device: torch.device | str, share: float = _SHARE) -> Pixels:
    """The images as `Resident` if they fit into that share of the device's free memory, else `Streamed`.

    Resident on the CPU they stay where they are: a memory map is not copied, and processes share its pages.
    """
    device = torch.device(device)
    if images.nbytes > share * free_memory(device):
        return Streamed(images, device)
    return Resident(shared(images).to(device))


def free_memory(device: torch.device) -> int:
    """Bytes that could be had on the device now; in main memory what the kernel would drop counts too."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def shared(images: NDArray[np.uint8]) -> Tensor:
    """A tensor on the array's own memory, which nobody may write to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def unit(images: Tensor) -> Tensor:
    """Bytes as numbers in [0, 1], float32 of the same shape."""
    return images.float().mul_(1 / 255)
