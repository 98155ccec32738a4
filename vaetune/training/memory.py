"""Whether what was raised means that the memory did not suffice."""

from __future__ import annotations

import torch


def exhausted(error: Exception) -> bool:
    """True for main memory and a GPU's; on the CPU torch raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
