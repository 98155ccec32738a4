"""A Ray to run on: one started here and taken down again, or a cluster that is there."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from vaetune.errors import UserError
from vaetune.study import Study, token
from vaetune.study.capacity import Amounts, Capacity, capacity, cluster_file
from vaetune.study.reaper import reaped
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
    "RAY_prestart_worker_first_driver": "0",  # one process a core that no trial of ours can use, started and ended
    "RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES": "",  # what stays at home is said in `submit`
}

_JOIN_S = 20.0
"""Seconds for which machines of one's own that `ray up` is just bringing in are waited for."""

_STARTS = 4
_SLOW = "timed out during startup"
"""What Ray says, and how often it is started, where it does not come up within the 30 s that it allows itself."""

# Ray's switch for desktops without a cluster: everything of a local Ray then listens on 127.0.0.1 only.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare(address: str | None) -> None:
    """Sets the environment that Ray, MLflow and OpenMP read once, when they load; call it before importing them.

    A Ray of our own gets a token of its own, which lives no longer than it and in no file; for a cluster at `address`
    there must be one, or `UserError` is raised.
    """
    assert "ray" not in sys.modules, "the environment comes too late"
    for key, value in (QUIET | ENVIRONMENT).items():
        os.environ.setdefault(key, value)
    if address:
        token.require()
    else:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.update(_LOOPBACK)


def requests(study: Study) -> list[Amounts]:
    """What the trials of each arm ask for (CPU, GPU)."""
    asked = [arm.resources or study.resources for arm in study.arms]
    return [{"CPU": resources.cpus, "GPU": resources.gpus} for resources in asked]


def admit(address: str, study: Study, storage: str) -> None:
    """Connects to the cluster at `address`; raises `UserError` for a study that it cannot run, before anything starts.

    On more than one machine a local folder holds results that nobody else finds.
    """
    from vaetune.study.knock import knock

    knock(address)
    _init(address, {"runtime_env": {"env_vars": ENVIRONMENT}})
    room = _capacity(address)
    deadline = time.monotonic() + _JOIN_S
    while room.awaited and time.monotonic() < deadline:
        time.sleep(1)
        room = _capacity(address)
    if room.several and "://" not in storage:
        raise UserError(
            f"--storage {storage} is a folder of one machine, and trials of this cluster run on others: give one that "
            "all reach, --storage s3://BUCKET/runs"
        )
    for request in requests(study):
        room.slots(request)


@contextmanager
def connected(address: str | None, study: Study) -> Iterator[int]:
    """Connects, and yields how many of the study's trials run at once; raises `UserError` for none.

    A Ray started here ends with the block, or with this process however that dies, and its session's folder goes too;
    a cluster, to which `admit` has connected, stays.
    """
    import ray

    with ExitStack() as stack:
        if not address:
            folder = stack.enter_context(scratch())
            stack.enter_context(reaped(folder))
            _init("local", {"include_dashboard": False, "_temp_dir": str(folder)})
        try:
            room = _capacity(address)
            yield max(room.slots(request) for request in requests(study))
        finally:
            ray.shutdown()


def _capacity(address: str | None) -> Capacity:
    import ray

    # The file lies on the head, and drivers of a cluster that starts machines run there.
    head = ray.get_runtime_context().gcs_address.rpartition(":")[0]
    here = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    file = cluster_file() if address and head == here else None
    return capacity(ray.nodes(), file)  # type: ignore[no-untyped-call]


def _init(address: str, options: Mapping[str, Any]) -> None:
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
