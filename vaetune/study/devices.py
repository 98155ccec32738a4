"""The devices that a trial computes on, checked against what Ray says that it was given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import ray
import torch

from vaetune.errors import UserError

LOGICAL = "VAETUNE_LOGICAL_GPUS"
"""Set to 1, GPUs are only counted: a test's, on machines that have none. Trials then train on the CPU."""


def mine(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Of the trial that runs in this process."""
    given = ray.get_runtime_context().get_accelerator_ids().get("GPU", []) if ray.is_initialized() else []
    return devices(given, torch.cuda.device_count(), environment.get(LOGICAL) == "1")


def devices(given: Sequence[str], visible: int, logical: bool) -> list[str]:
    """torch's names for the GPUs with the ids `given`, of which `visible` ones can be used; raises `UserError`.

    A trial that asked for no GPU may use the first that is visible.
    """
    if logical:
        return ["cpu"] * max(1, len(given))
    if given and len(given) != visible:
        raise UserError(
            f"Ray gave a trial {len(given)} GPU(s) ({', '.join(given)}), but torch can use {visible}: is the driver "
            f"installed, and torch built for its CUDA? ({LOGICAL}=1 counts GPUs that are not there)"
        )
    return [f"cuda:{i}" for i in range(len(given))] or (["cuda"] if visible else ["cpu"])
