"""As much of IAM as the cluster's roles use: actions, resources and conditions of allowing statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any


def allowed(statements: Iterable[Mapping[str, Any]], action: str, resource: str, facts: Mapping[str, str]) -> bool:
    """Whether some statement allows `action` on `resource`, given the `facts` that conditions may ask for."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in _several(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in _several(statement["Resource"]))
        and all(_holds(kind, asked, facts) for kind, asked in statement.get("Condition", {}).items())
        for statement in statements
    )


def _holds(kind: str, asked: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    compare = {"StringEquals": str.__eq__, "StringLike": fnmatchcase}[kind]
    return all(key in facts and any(compare(facts[key], v) for v in _several(values)) for key, values in asked.items())


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
