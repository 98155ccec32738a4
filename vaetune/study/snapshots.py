"""Up to nine states of an arm's replicate 0 while it learns, for pictures of what its decoder made of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from safetensors.torch import load, save
from torch import Tensor

from vaetune import checkpoints
from vaetune.storage import Storage

SHOWN = 9
"""Beside the initial one, which its seed gives again."""


def due(epoch: int, epochs: int) -> bool:
    """Whether a state is kept after this epoch of a training of `epochs`; the last one is the checkpoint's."""
    return epoch < epochs and epoch % -(-epochs // SHOWN) == 0


def write(storage: Storage, id: str, epoch: int, weights: Mapping[str, Tensor]) -> None:
    """Keeps the weights that a member had after an epoch."""
    storage.write(
        f"snapshots/{id}/{epoch:06d}.safetensors", save({n: w.cpu().contiguous() for n, w in weights.items()})
    )


def read(storage: Storage, id: str) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Epochs and weights, the final ones last."""
    final = checkpoints.load(storage, id)
    for name in storage.list(f"snapshots/{id}"):
        if (epoch := int(name.partition(".")[0])) < final.config["epoch"]:
            yield epoch, load(storage.read(f"snapshots/{id}/{name}"))
    yield int(final.config["epoch"]), final.weights
