"""What a study has left in S3 so far, seen with the account owner's eyes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from vaetune.storage import Storage
from vaetune.tables import Tables

BUCKET = "vaetune-results"
OWNER = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "of-the-account"}
HEAD, WORKER = "vaetune-ray-head", "vaetune-ray-worker"
KEYS = {
    role: {"AWS_ACCESS_KEY_ID": f"ASIA{i:016d}", "AWS_SECRET_ACCESS_KEY": f"of-the-{role}"}
    for i, role in enumerate((HEAD, WORKER))
}
"""What the roles sign with."""


def identities() -> dict[str, Any]:
    """For the S3 server, which lets the roles into the results bucket alone."""
    may = {"owner": ["Admin", "Read", "Write", "List"]}
    may |= {role: [f"{action}:{BUCKET}" for action in ("Read", "Write", "List")] for role in KEYS}
    return {"identities": [_identity(name, KEYS.get(name, OWNER), actions) for name, actions in may.items()]}


def _identity(name: str, keys: Mapping[str, str], actions: Sequence[str]) -> dict[str, Any]:
    key, secret = keys.values()
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


class Bucket:
    """The results below one prefix, of one execution; `folder` takes copies of its tables."""

    def __init__(self, endpoint: str, prefix: str, folder: Path) -> None:
        keys = {name.lower(): value for name, value in OWNER.items()}
        self._client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        self._prefix, self._folder = prefix, folder

    def listed(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self._prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def partials(self) -> dict[str, int]:
        """The last epoch at which each member that still trains is written down."""
        found = [re.search(r"/checkpoints/([^/]+)/partial/(\d+)/manifest", key) for key in self.listed()]
        kept: dict[str, int] = {}
        for match in found:
            if match:
                kept[match[1]] = max(kept.get(match[1], 0), int(match[2]))
        return kept

    def tables(self) -> Tables:
        """As far as they are written."""
        return Tables(Storage(self.fetch(self._folder, "/tables/")))

    def fetch(self, folder: Path, part: str = "") -> Path:
        """Copies all whose key has `part` in it and that is not yet in `folder`; returns the execution's folder."""
        for key in self.listed():
            file = folder / key.removeprefix(self._prefix)
            if part in key and not key.endswith("/") and not file.exists():  # pyarrow marks folders by a slash
                file.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(BUCKET, key, str(file))
        (execution,) = (folder / "small").iterdir()
        return execution
