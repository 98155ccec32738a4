"""Two disjoint validation folds of one split: the second swaps its place with the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.splits import Index, second_split, split
from vaetune.errors import UserError


def folded(
    labels: NDArray[np.int64],
    n_validation: int,
    n_train: int | None,
    seed: int,
    fold: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Index, Index]:
    """Indices of the training and of the validation images, int64, as `split` gives them for fold 0.

    Fold 1 validates on the images that stand before those in the same stratified order, which are training images of
    fold 0 where training takes all that is left; the validation images of fold 0 are training images then. Both folds
    are of one size and stratified. With `groups` (see `split`) each fold has groups of its own, and its training no
    image of them. Raises `UserError` if there are not images enough for two folds and training.
    """
    if not fold:
        return split(labels, n_validation, n_train, seed, groups)
    require_two(len(labels), n_validation)
    if groups is not None:
        return second_split(labels, n_validation, n_train, seed, groups)
    others, first = split(labels, n_validation, None, seed)
    cut = len(others) - n_validation
    swapped = np.concatenate([others[:cut], first])
    return swapped[: len(swapped) if n_train is None else n_train], others[cut:]


def require_two(total: int, n_validation: int) -> None:
    """Raises `UserError` unless two validation folds and one training image fit."""
    if 2 * n_validation >= total:
        raise UserError(
            f"two validation folds of {n_validation} images do not fit into {total}: lower dataset.n_validation, "
            "or set budget.reseeds=1 to select on one fold"
        )
