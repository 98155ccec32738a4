"""WIKI, the smaller part of IMDB-WIKI: see `vaetune.datasets.imdb_wiki`."""

from __future__ import annotations

from vaetune.datasets.base import Dataset, Request
from vaetune.datasets.imdb_wiki import opened

SUMMARY = "62,328 faces from Wikipedia, by gender or age; people divided, not images"


def dataset(request: Request) -> Dataset:
    """WIKI, found in a data root."""
    return opened("wiki", SUMMARY, request)
