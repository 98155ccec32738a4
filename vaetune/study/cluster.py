"""A Ray to run on: one started here and taken down again, or a cluster that is there."""

from __future__ import annotations

import logging
import math
import os
import secrets
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vaetune.errors import UserError
from vaetune.study.scratch import scratch
from vaetune.training.environment import ENVIRONMENT

# Read when Ray, MLflow and OpenMP load, here and in the workers that inherit this environment.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals are the runner's
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # our own tables are what a resumed study reads
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}

_STARTS = 4
_SLOW = "timed out during startup"
"""What Ray says, and how often it is started, where it does not come up within the 30 s that it allows itself."""

# Ray's switch for desktops without a cluster: everything of a local Ray then listens on 127.0.0.1 only.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare(address: str | None) -> None:
    """Sets the environment that Ray, MLflow and OpenMP read once, when they load; call it before importing them.

    A Ray of our own gets a token of its own, which lives no longer than it and in no file.
    """
    assert "ray" not in sys.modules, "the environment comes too late"
    for key, value in (QUIET | ENVIRONMENT).items():
        os.environ.setdefault(key, value)
    if not address:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.update(_LOOPBACK)


@contextmanager
def connected(address: str | None, resources: Mapping[str, float]) -> Iterator[int]:
    """Connects, and yields how many trials of these `resources` (CPU, GPU) fit at once; raises `UserError` for none.

    A Ray started here ends with the block, and its session's folder goes too; a cluster stays.
    """
    if address:
        with _connected(address, resources, {"runtime_env": {"env_vars": ENVIRONMENT}}) as slots:
            yield slots
    else:
        local = {"include_dashboard": False}
        with scratch() as folder, _connected("local", resources, local | {"_temp_dir": str(folder)}) as slots:
            yield slots


@contextmanager
def _connected(address: str, resources: Mapping[str, float], options: Mapping[str, Any]) -> Iterator[int]:
    import ray

    with warnings.catch_warnings():
        # Ray announces a default for zero-GPU workers that it will change; RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO sets it.
        warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
        for tries in reversed(range(_STARTS)):
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **options)
                break
            except ConnectionError as error:
                raise UserError(f"no Ray cluster at {address!r}: {error}") from error
            except Exception as error:  # Ray has no narrower one
                ray.shutdown()
                if _SLOW not in str(error) or not tries:
                    raise UserError(f"Ray did not start: {error}") from error
    for name, module in list(sys.modules.items()):
        if name.startswith("vaetune_study_"):  # a study file, which workers cannot import: its classes travel whole
            ray.cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        have = ray.cluster_resources()  # type: ignore[no-untyped-call]
        slots = min(math.floor(have.get(name, 0) / amount) for name, amount in resources.items() if amount)
        if slots < 1:
            asked = ", ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount)
            there = ", ".join(f"{have.get(name, 0):g} {name}" for name in resources)
            raise UserError(
                f"a trial asks for {asked}, but the cluster has {there}; see --set resources.cpus, resources.gpus"
            )
        yield slots
    finally:
        ray.shutdown()
