"""`--submit`: a study as a job of a Ray cluster. The current folder travels, without data; logs are followed."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.errors import UserError
from vaetune.study import token

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

EXCLUDES = (".git", ".venv", "__pycache__", "/runs", "/mlruns", "/data", "*.parquet", "*.safetensors")
"""What stays at home, in .gitignore's form; what .gitignore names stays too."""

STOP_S = 60
"""Seconds that a study has to put its things away when it is stopped."""


def submit(
    address: str,
    arguments: Sequence[str],
    study: Path,
    storage: str,
    ask: Callable[[str], str] = input,
) -> int:
    """Runs `python -m vaetune.study ARGUMENTS` on the cluster's head and returns its exit code, 0 when detached.

    `study` is the study's file, which must lie below the current folder; `storage` must be one that outlives the head.
    """
    here, study = Path.cwd().resolve(), study.resolve()
    if "://" not in storage:
        raise UserError(
            f"--storage {storage} would be a folder on the cluster's head, lost with it: give --storage s3://BUCKET/runs"
        )
    if not study.is_relative_to(here):
        raise UserError(f"--submit ships the current folder, and {study} is outside it; run this from above the study")
    command = ["python", "-m", "vaetune.study", str(study.relative_to(here)), *arguments, "--address", "auto"]
    logging.getLogger("ray").setLevel(logging.WARNING)
    client = _client(address)
    try:
        job = client.submit_job(
            entrypoint=shlex.join(command),
            runtime_env={
                "working_dir": str(here),
                "excludes": list(EXCLUDES),
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S), "PYTHONUNBUFFERED": "1"},
            },
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"the cluster at {address} does not take the study: {str(error).splitlines()[0]}") from error
    print(f"job {job} at {address}", flush=True)
    try:
        return _followed(client, job, address)
    except KeyboardInterrupt:
        return _interrupted(client, job, address, ask)


def _client(address: str) -> JobSubmissionClient:
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        hint = "is `ray dashboard cluster/gpu.yaml` running?"
        raise UserError(f"no Ray dashboard at {address}: {str(error).splitlines()[0]}; {hint}") from error
    except AuthenticationError as error:
        raise token.refused(address) from error


def _followed(client: JobSubmissionClient, job: str, address: str) -> int:
    """Prints the job's output until it ends."""

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            sys.stdout.write(text)
            sys.stdout.flush()

    try:
        asyncio.run(tail())
    except (RuntimeError, OSError) as error:
        watch = f"ray job logs --follow --address {address} {job}"
        raise UserError(f"lost sight of job {job}, which goes on: {error}; to watch it: {watch}") from error
    details = client.get_job_info(job)
    if details.status.value == "SUCCEEDED":
        return 0
    if details.driver_exit_code is None:
        print(f"vaetune: job {job} {details.status.value.lower()}: {details.message}", file=sys.stderr)
    return details.driver_exit_code or 1


def _interrupted(client: JobSubmissionClient, job: str, address: str, ask: Callable[[str], str]) -> int:
    try:
        answer = ask("\n[d]etach, and the study goes on; or [s]top it, to be resumed later? [d] ")
    except (EOFError, KeyboardInterrupt):
        answer = "d"
    if answer.strip().lower().startswith("s"):
        client.stop_job(job)
        return _followed(client, job, address)
    print(
        f"\ndetached; the study goes on. To watch it:  ray job logs --follow --address {address} {job}\n"
        f"to stop it, resumably:                ray job stop --address {address} {job}"
    )
    return 0
