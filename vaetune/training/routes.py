"""How the arithmetic is done on this machine: threads, and the fastest float32 matrix product that is still float32."""

from __future__ import annotations

import functools
import os

import torch

# A product of k = 512 terms in float32 errs by some 1e-6 of its largest entry, in bfloat16 or TF32 by 1e-3.
_TOLERANCE = 5e-6


@functools.cache
def configure() -> dict[str, str]:
    """One thread, and oneDNN's products where they prove to be float32; returns what was chosen, for the record.

    "medium" allows the library another kernel: on AVX-512 CPUs without matrix units that kernel is float32 and
    about twice as fast; with AMX it would be bfloat16, and the check against float64 refuses it.
    """
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    if _error() > _TOLERANCE:
        torch.set_float32_matmul_precision("highest")
    return {
        "matmul": torch.get_float32_matmul_precision(),
        "threads": str(torch.get_num_threads()),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
    }


def _error() -> float:
    """The largest error of single and batched products, relative to their largest entry."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 128, 512, generator=generator)
    b = torch.randn(2, 512, 256, generator=generator)
    exact = a.double() @ b.double()
    scale = exact.abs().max()
    return float(max(((a @ b) - exact).abs().max(), ((a[0] @ b[0]) - exact[0]).abs().max()) / scale)
