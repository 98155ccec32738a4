"""Batches of pixels at device speed: from a tensor that lies on the device, or streamed from a memory map.

The one file of this package that imports torch; only the training engine does so in turn. Both sources have one
interface, and give the same bytes in the same order:

    source = pixels(images.images, device)
    for batch in source.batches(index, size):      # index int64 [R, N] -> uint8 [R, size, C, H, W] on the device
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AHEAD = 4  # batches that are read while one is used
_SHARE = 0.5  # of the free memory: the rest is for the model and whatever else runs there


class Pixels(Protocol):
    """Images that batches are taken from; `shape` is (N, C, H, W)."""

    shape: tuple[int, ...]

    def batches(self, index: Tensor, size: int) -> Iterator[Tensor]:
        """The images at `index` int64 [R, N] in turn, uint8 [R, `size` or what is left, C, H, W] on the device."""


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
    """Images in a memory map: a thread reads ahead, into pinned memory if the device is a GPU.

    Nothing of the map is copied but the batches at hand; the kernel keeps or drops its pages as memory allows.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device | str) -> None:
        table = shared(images)
        self.device, self.shape = torch.device(device), tuple(table.shape)
        self._rows = table.flatten(1)

    def batches(self, index: Tensor, size: int) -> Iterator[Tensor]:
        """See `Pixels`."""
        parts = iter(index.cpu().split(size, 1))  # type: ignore[no-untyped-call]
        pool = ThreadPoolExecutor(1)
        try:
            ahead: deque[Future[Tensor]] = deque(pool.submit(self._read, part) for part in islice(parts, _AHEAD))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self._read, part) for part in islice(parts, 1))
                yield batch.to(self.device, non_blocking=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, part: Tensor) -> Tensor:
        """One batch in host memory; pinned blocks are not used again before their copy to the device has ended."""
        batch = torch.empty(
            (part.numel(), self._rows.shape[1]), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        torch.index_select(self._rows, 0, part.flatten(), out=batch)
        return batch.view(*part.shape, *self.shape[1:])


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
