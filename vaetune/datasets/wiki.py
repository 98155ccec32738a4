"""WIKI, the smaller part of IMDB-WIKI: see `vaetune.datasets.imdb_wiki`."""

from __future__ import annotations

from pathlib import Path

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.imdb_wiki import locate, opened

SUMMARY = "62,328 faces from Wikipedia, by gender or age; people divided, not images"


def dataset(request: Request) -> Dataset:
    """WIKI, found in a data root."""
    return opened("wiki", SUMMARY, request)


def folder(request: Request) -> Path:
    """Where its files lie; raises `UserError` if that is nowhere."""
    return locate("wiki", request)
