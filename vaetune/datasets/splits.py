"""Who trains and who validates: stratified, seeded, nested splits that part no group; label noise that nests too."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import UserError

Index = NDArray[np.int64]


def split(
    labels: NDArray[np.int64],
    n_validation: int,
    n_train: int | None,
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Index, Index]:
    """Indices of the training and of the validation images, int64 [n_train] and [n_validation].

    One stratified order of all images is drawn from `seed`; training takes its beginning and validation its end.
    So validation does not depend on `n_train`, a smaller training set is the beginning of a larger one, and in both
    every class has its share of the images, rounded up or down. `n_train=None` takes all that validation leaves.

    With `groups` int64 [N], no group is in both: validation takes whole groups in a random order, the last of them in
    part if its size does not fit, and training a stratified order of the images of all other groups.
    Raises `UserError` if there are not enough images.
    """
    total = len(labels)
    wanted = total - n_validation if n_train is None else n_train
    if n_validation < 0 or wanted < 1 or wanted + n_validation > total:
        asked = f"{'all other' if n_train is None else n_train} training and {n_validation} validation images"
        raise UserError(
            f"cannot split {total} images into {asked}: n_train must be at least 1, the sum at most {total}"
        )
    if groups is None:
        order = stratified_order(labels, seed)
        return order[:wanted], order[total - n_validation :]
    others, validation = _whole_groups(groups, n_validation, seed)
    if n_train is None:
        wanted = len(others)
    if not 0 < wanted <= len(others):
        raise UserError(
            f"cannot split {total} images into {wanted} training and {n_validation} validation images without parting "
            f"groups (such as the images of one person): {len(others)} images are left for training"
        )
    return others[stratified_order(labels[others], seed)][:wanted], validation


def _whole_groups(groups: NDArray[np.int64], n: int, seed: int) -> tuple[Index, Index]:
    """All images of the groups that are not touched, and n images of the others."""
    _, group = np.unique(groups, return_inverse=True)
    place = np.random.default_rng(seed).permutation(group.max(initial=-1) + 1)[group]
    order = np.argsort(place, kind="stable")
    chosen = order[len(order) - n :]
    return np.flatnonzero(~np.isin(place, place[chosen])), chosen


def stratified_order(labels: NDArray[np.int64], seed: int) -> Index:
    """A random order of all images in which any first n hold every class in proportion, rounded up or down.

    The quota method of apportionment (Balinski and Young 1975), read as a schedule: the j-th image of a class of
    n_c among N may come once n·n_c/N > j and must have come when n·n_c/N = j + 1; earliest deadline first always
    succeeds. Sorting by j/n_c alone, or drawing each class's largest deficit, does not keep to the quota.
    """
    rng = np.random.default_rng(seed)
    total = len(labels)
    jobs: list[tuple[int, int, int, int]] = []
    for rank, label in enumerate(rng.permutation(np.unique(labels))):  # ties between classes fall differently by seed
        members = rng.permutation(np.flatnonzero(labels == label))
        size = len(members)
        for j, image in enumerate(members.tolist()):
            jobs.append((j * total // size, -(-(j + 1) * total // size), rank, image))
    jobs.sort(reverse=True)
    ready: list[tuple[int, int, int]] = []
    order = np.empty(total, np.int64)
    for n in range(total):
        while jobs and jobs[-1][0] <= n:
            heapq.heappush(ready, jobs.pop()[1:])
        order[n] = heapq.heappop(ready)[-1]
    return order


def noisy_labels(labels: NDArray[np.int64], share: float, classes: int, seed: int) -> NDArray[np.int64]:
    """A copy in which exactly round(share · N) labels are replaced, each by one of the other classes, uniformly.

    With the same seed, what a smaller share replaces, a larger one replaces by the same labels.
    """
    if not 0 <= share <= 1:
        raise UserError(f"label noise {share}: expected a share between 0 and 1")
    if classes < 2:
        raise UserError(f"label noise needs at least 2 classes, found {classes}")
    rng = np.random.default_rng(seed)
    victims = rng.permutation(len(labels))[: round(share * len(labels))]
    shift = rng.integers(1, classes, size=len(labels))  # drawn for all, so that a replacement does not depend on share
    noisy = labels.copy()
    noisy[victims] = (labels[victims] + shift[victims]) % classes
    return noisy
