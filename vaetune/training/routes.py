"""How this process computes: threads, memory, and the fastest float32 matrix product that is still float32."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# A product of k = 512 terms in float32 errs by some 1e-6 of its largest entry, in bfloat16 or TF32 by 1e-3.
_TOLERANCE = 5e-6

_KEPT = 2**30
"""Free bytes at the end of the heap beyond which they are given back after all."""


@functools.cache
def configure() -> dict[str, str]:
    """One thread, and oneDNN's products where they prove to be float32; returns what was chosen, for the record.

    "medium" allows the library another kernel: on AVX-512 CPUs without matrix units that kernel is float32 and
    about twice as fast; with AMX it would be bfloat16, and the check against float64 refuses it.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # by default convolutions on a GPU are not float32
    memory = _keep_memory()
    torch.set_float32_matmul_precision("medium")
    if _error() > _TOLERANCE:
        torch.set_float32_matmul_precision("highest")
    return {
        "matmul": torch.get_float32_matmul_precision(),
        "threads": str(torch.get_num_threads()),
        "memory": memory,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
    }


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Within, products may be computed with fewer bits: "tf32" or "bf16", where the hardware has units for them.

    "float32" leaves them as `configure` has chosen. What is stored is float32 always.
    """
    if precision == "float32":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision({"tf32": "high", "bf16": "medium"}[precision])
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def _keep_memory() -> str:
    """Has glibc keep what is freed for the next step, and says so; other C libraries are left as they are.

    By default it gives large blocks back to the system, which clears and maps them anew at every step: that took a
    quarter of the epoch of a convolutional VAE.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return "the system's"
    # All threads from one heap, no blocks beside it, and not given back: numbers as in malloc.h.
    options = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, _KEPT)}
    taken = [mallopt(*option) for option in options.values()]
    return "kept" if all(taken) else "the system's"


def _error() -> float:
    """The largest error of single and batched products, relative to their largest entry."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 128, 512, generator=generator)
    b = torch.randn(2, 512, 256, generator=generator)
    exact = a.double() @ b.double()
    scale = exact.abs().max()
    return float(max(((a @ b) - exact).abs().max(), ((a[0] @ b[0]) - exact[0]).abs().max()) / scale)
