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
    part if its size does not fit, and training a stratified order of the images of all other groups; see `trained` for
    what `n_train=None` takes then. Raises `UserError` if there are not enough images.
    """
    total = len(labels)
    wanted = trained(total, n_validation, n_train, groups)
    if n_validation < 0 or wanted < 1 or wanted + n_validation > total:
        asked = f"{'all other' if n_train is None else n_train} training and {n_validation} validation images"
        raise UserError(
            f"cannot split {total} images into {asked}: n_train must be at least 1, the sum at most {total}"
        )
    if groups is None:
        order = stratified_order(labels, seed)
        return order[:wanted], order[total - n_validation :]
    order = _group_order(groups, seed)
    return _apart(labels, groups, order[total - n_validation :], wanted, seed)


def second_split(
    labels: NDArray[np.int64], n_validation: int, n_train: int | None, seed: int, groups: NDArray[np.int64]
) -> tuple[Index, Index]:
    """As `split` with groups, but validation takes the groups that come next in the same random order."""
    order = _group_order(groups, seed)
    rest = order[~np.isin(groups[order], groups[order[len(order) - n_validation :]])]
    if len(rest) < n_validation:
        raise UserError(
            f"two validation folds of {n_validation} images that part no group (such as the images of one person) do "
            f"not fit: {len(rest)} images are left for the second; lower dataset.n_validation"
        )
    wanted = trained(len(labels), n_validation, n_train, groups)
    return _apart(labels, groups, rest[len(rest) - n_validation :], wanted, seed)


def trained(total: int, n_validation: int, n_train: int | None, groups: NDArray[np.int64] | None = None) -> int:
    """How many images training takes: `n_train`, or all that validation leaves, where groups are whole with any seed.

    Validation then touches at most one group more than it has room for, so the largest may be missing but for one.
    """
    if n_train is not None:
        return n_train
    largest = 1 if groups is None or not len(groups) else int(np.unique(groups, return_counts=True)[1].max())
    return total - n_validation - (largest - 1 if n_validation else 0)


def _group_order(groups: NDArray[np.int64], seed: int) -> Index:
    """All images, group by group, the groups in a random order."""
    _, group = np.unique(groups, return_inverse=True)
    place = np.random.default_rng(seed).permutation(group.max(initial=-1) + 1)[group]
    return np.argsort(place, kind="stable")


def _apart(
    labels: NDArray[np.int64], groups: NDArray[np.int64], validation: Index, wanted: int, seed: int
) -> tuple[Index, Index]:
    """Training images of the groups that validation does not touch, and the validation images."""
    others = np.flatnonzero(~np.isin(groups, groups[validation]))
    if not 0 < wanted <= len(others):
        raise UserError(
            f"cannot split {len(labels)} images into {wanted} training and {len(validation)} validation images without "
            f"parting groups (such as the images of one person): {len(others)} images are left for training"
        )
    return others[stratified_order(labels[others], seed)][:wanted], validation


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
