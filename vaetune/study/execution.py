"""One run of a study on disk or in S3: its folder, its RUN id, and the records that say what was run and where."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import vaetune
from vaetune import config, endpoints
from vaetune.config import TrainingConfig
from vaetune.errors import UserError, unknown
from vaetune.storage import Storage
from vaetune.study import BestOf, Budget, Replication, Study, lock
from vaetune.study.load import Loaded
from vaetune.study.options import Options
from vaetune.study.space import combined, describe
from vaetune.tables import Tables

_PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "safetensors")


@dataclass
class Execution:
    """The folder `<storage>/<study>/<RUN>/` and what is written there besides tables and checkpoints.

    `extends` is the RUN whose replicates it trains on; "": it begins anew.
    """

    study: Study
    run: str
    storage: Storage
    extends: str = ""
    tables: Tables = field(init=False)
    environment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = Tables(self.storage)

    def write_environment(self, **facts: Any) -> None:
        """Merges `facts` into environment.json."""
        for key, value in facts.items():
            known = self.environment.get(key)
            self.environment[key] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        self.storage.write("environment.json", _pretty(self.environment))


def create(loaded: Loaded, study: Study, options: Options, dataset_info: Mapping[str, Any]) -> Execution:
    """A new execution with its study.json and environment.json."""
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    execution = Execution(study, run, Storage(options.storage).below(f"{study.name}/{run}"), options.extend or "")
    try:
        execution.storage.write("study.json", _pretty(resolved(loaded, study, options, run, dataset_info)))
    except OSError as error:
        raise UserError(f"--storage {options.storage} cannot be written: {error}") from error
    execution.write_environment(**environment())
    return execution


def reopen(loaded: Loaded, study: Study, options: Options, dataset_info: Mapping[str, Any]) -> Execution:
    """An earlier execution of this very study; raises `UserError` if there is none or its study was another."""
    assert options.resume is not None
    storage, before = recorded(options.storage, study.name, options.resume)
    execution = Execution(study, options.resume, storage, before.get("extends", ""))
    now = resolved(loaded, study, replace(options, extend=execution.extends), options.resume, dataset_info)
    if changed := changes(before, now):
        raise UserError(
            f"run {options.resume} was started with another {', '.join(changed)}; resume it with the study file and "
            f"the flags it was started with (preset {before.get('preset')}, seed {before.get('seed')}), or start a "
            "new run"
        )
    if execution.storage.exists("environment.json"):
        execution.environment = _object(execution.storage, "environment.json")
        if wrong := _unlike(environment() | {"routes": {}}, execution.environment):
            raise UserError(f"{execution.storage.uri}/environment.json is damaged at {wrong}; restore it or delete it")
    else:  # the driver was killed before it came to that
        execution.write_environment(**environment())
    return execution


def recorded(root: str, study: str, run: str) -> tuple[Storage, dict[str, Any]]:
    """The folder of an earlier execution and its study.json; raises `UserError` with the near matches."""
    storage = Storage(root)
    runs = [name for name in storage.list(study) if storage.exists(f"{study}/{name}/study.json")]
    if run not in runs:
        raise unknown(f"run of {study} in {storage.uri}", run, runs)
    folder = storage.below(f"{study}/{run}")
    return folder, _object(folder, "study.json")


def unfinished(loaded: Loaded, study: Study, options: Options, dataset_info: Mapping[str, Any]) -> str | None:
    """The latest earlier execution of this very study that has no report and that nobody works on, by its RUN."""
    root = Storage(options.storage)
    now = resolved(loaded, study, options, "", dataset_info)
    for run in reversed(root.list(study.name)):
        storage = root.below(f"{study.name}/{run}")
        if not storage.exists("study.json") or storage.exists("report/report.html") or lock.busy(storage):
            continue
        with contextlib.suppress(UserError):  # a damaged one is offered to nobody
            if not changes(_object(storage, "study.json"), now):
                return run
    return None


_OPERATIONAL = ("preset", "file", "run", "resources")
"""What may differ when an execution is resumed; none of it changes a number."""


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two records of a study differ in, dotted, but for what changes no number."""
    plain = json.loads(_pretty(now))
    # What was not there to be chosen once, as it was then.
    before = {"endpoint": config.to_json(endpoints.ERROR), "extends": ""} | dict(before)
    for key, usual in (("training", TrainingConfig()), ("replication", Replication()), ("budget", Budget())):
        if isinstance(found := before.get(key), dict):
            before[key] = json.loads(_pretty(config.to_json(usual))) | found
    return [path for key in plain if key not in _OPERATIONAL for path in _differing(key, before.get(key), plain[key])]


def _differing(path: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
        return [each for key in now for each in _differing(f"{path}.{key}", before.get(key), now[key])]
    return [path] if before != now else []


def _unlike(pattern: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The key of the first value that is of another kind than in `pattern`, if there is one; "" if there is none."""
    for key, expected in pattern.items():
        value = found.get(key)
        if key == "git":
            if value is not None and not (isinstance(value, dict) and isinstance(value.get("revision"), str)):
                return key
        elif key == "started":
            try:
                datetime.fromisoformat(value or "")
            except (TypeError, ValueError):
                return key
        elif key in ("packages", "routes", "wall_seconds"):
            kind = (int, float) if key == "wall_seconds" else str
            value = {} if value is None and key == "routes" else value
            if not isinstance(value, dict) or not all(isinstance(v, kind) for v in value.values()):
                return key
        elif isinstance(expected, dict):
            if not isinstance(value, dict) or _unlike(expected, value):
                return key
        elif not isinstance(value, (int, float) if isinstance(expected, (int, float)) else type(expected)):
            return key
    return ""


def _object(storage: Storage, name: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read(name))
    except ValueError as error:
        raise UserError(f"{storage.uri}/{name} is damaged: {error}; restore it, or start a new run") from error
    if not isinstance(found, dict):
        raise UserError(f"{storage.uri}/{name} is damaged: it holds no object; restore it, or start a new run")
    return found


def resolved(
    loaded: Loaded, study: Study, options: Options, run: str, dataset_info: Mapping[str, Any]
) -> dict[str, Any]:
    """The study as plain JSON: all that the report and a later reader need, spaces described instead of run."""
    return {
        "name": study.name,
        "run": run,
        "extends": options.extend or "",
        "file": {"name": loaded.path.name, "sha256": loaded.sha256},
        "hypothesis": study.hypothesis,
        "preset": options.preset,
        "seed": options.seed,
        "reproducible": options.reproducible,
        "dataset": config.to_json(study.dataset),
        "dataset_info": dict(dataset_info),
        "model": config.to_json(study.model),
        "training": config.to_json(study.training),
        "objective": config.to_json(study.objective),
        "endpoint": config.to_json(study.primary),
        "budget": config.to_json(study.budget),
        "replication": config.to_json(study.replication),
        "resources": config.to_json(study.resources),
        "margin": study.margin,
        "published": {arm: dict(values) for arm, values in study.published.items()},
        "arms": [
            {
                "name": arm.name,
                "summary": arm.summary,
                "overrides": dict(arm.overrides),
                "contains_plain": arm.contains_plain,
                "stream": arm.stream,
                "replicate_stream": arm.replicate_stream,
                **({"resources": config.to_json(arm.resources)} if arm.resources else {}),
                "base": arm.base,
                "at": dict(arm.at),
                "space": describe(combined(study, arm)),
            }
            for arm in study.arms
        ],
        "comparisons": [
            {
                "name": comparison.name,
                "question": comparison.question,
                "base": comparison.base,
                "at": dict(comparison.at),
                "weights": [
                    [["best_of", list(who.arms)] if isinstance(who, BestOf) else who, weight]
                    for who, weight in comparison.weights
                ],
            }
            for comparison in study.comparisons
        ],
    }


def environment() -> dict[str, Any]:
    """Versions, git revision and hardware; nothing of the user's environment variables."""
    return {
        "vaetune": vaetune.__version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "git": _git(),
        "hardware": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "platform": platform.platform(),
            "gpus": [],
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": {},
    }


def _git() -> dict[str, Any] | None:
    """The revision of the checkout that this package lies in; None for an installed wheel."""
    root = Path(vaetune.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"revision": revision.stdout.strip(), "dirty": bool(status.stdout.strip())}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _pretty(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
