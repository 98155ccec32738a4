"""Names and values in the form and length that MLflow takes."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import Any

METRICS_A_CALL = 1000
TAGS_A_CALL = 100
# MLflow takes 100, but a request of at most 1 MB: 25 of the longest values fit, escaped and all.
PARAMS_A_CALL = 25
NAME = 250
PARAM = 6000
TAG = 5000
EXPERIMENT_TAG = 20000


def name(text: str) -> str:
    """A metric's, parameter's or tag's name that MLflow takes: `text` itself, or a likeness with a digest of it.

    MLflow allows letters, digits, `_`, `-`, `.`, `:`, space and `/`, and only what is a normalised relative path.
    """
    clean = re.sub(r"[^\w.\-: /]", "_", text)
    if posixpath.normpath(clean) != clean or clean.startswith(("/", ".")):
        clean = "_" + clean.replace("/", "_")
    if clean == text and len(text) <= NAME:
        return text
    return f"{clean[: NAME - 9]}-{_digest(text)[:8]}"


def value(item: Any, limit: int) -> str:
    """The text of a parameter or tag, cut to `limit` characters with a digest of the whole."""
    text = item if isinstance(item, str) else json.dumps(item, default=str) if _nested(item) else str(item)
    text = text.replace("\0", "")  # PostgreSQL refuses it
    if len(text) <= limit:
        return text
    mark = f"… sha256:{_digest(text)[:16]}"
    return text[: limit - len(mark)] + mark


def _nested(item: Any) -> bool:
    return isinstance(item, dict | list | tuple)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
