"""Has anything been learned from the test split? Two checks: of the data themselves, and of what is computed from them.

Normalisation statistics, temperatures, thresholds and whatever else is fitted must come from training or validation
data. `leaks` does not read code to find out: it exchanges the test split for a counterfeit and looks at what changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vaetune.datasets.base import Images


def leaks(measure: Callable[[Images], Mapping[str, Any]], test: Images, may: Callable[[str], bool]) -> list[str]:
    """The names of the values that depend on the test split although they must not.

    `measure` is given a test split and returns values by name, numbers or arrays; `may` says which of them are about
    the test split. `measure` is called three times: twice with `test`, to see that it gives the same values again, or
    ValueError; once with a counterfeit of the same shape, its images inverted and its labels exchanged.
    """
    first, second, other = measure(test), measure(test), measure(counterfeit(test))
    if shaky := sorted(name for name in first if not _equal(first[name], second.get(name))):
        raise ValueError(f"the same test split gave other values of {', '.join(shaky)}: seed what is measured")
    return sorted(name for name in {*first, *other} if not may(name) and not _equal(first.get(name), other.get(name)))


def counterfeit(images: Images) -> Images:
    """As many images of the same shape that share nothing with the true ones; every label becomes another one."""
    classes = int(images.labels.max(initial=0)) + 1
    return Images(255 - np.asarray(images.images), (images.labels + 1) % max(classes, 2), images.groups)


def overlap(development: Images, test: Images) -> str:
    """What the two splits have in common, in words: images of equal pixels, and groups, if there are any."""
    seen = {_hash(image) for image in development.images}
    twice = sum(_hash(image) in seen for image in test.images)
    words = f"{twice:,} of {len(test):,} test images occur, pixel by pixel, among the development images"
    if development.groups is None or test.groups is None:
        return words
    shared = len(np.intersect1d(development.groups, test.groups))
    return f"{words}; {shared:,} groups (such as people) are in both"


def _hash(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _equal(a: Any, b: Any) -> bool:
    return a is not None and b is not None and np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
