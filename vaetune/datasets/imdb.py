"""IMDB, the larger part of IMDB-WIKI: see `vaetune.datasets.imdb_wiki`."""

from __future__ import annotations

from pathlib import Path

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.imdb_wiki import locate, opened

SUMMARY = "460,723 faces from IMDb, by gender or age; people divided, not images"


def dataset(request: Request) -> Dataset:
    """IMDB, found in a data root."""
    return opened("imdb", SUMMARY, request)


def folder(request: Request) -> Path:
    """Where its files lie; raises `UserError` if that is nowhere."""
    return locate("imdb", request)
