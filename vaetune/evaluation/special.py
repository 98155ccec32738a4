"""What is measured on a decoding replicate only where data or study allow it: known factors, known exchanges, AIS."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaetune.datasets.batches import Part, unit
from vaetune.datasets.exchange import sources
from vaetune.evaluation import disentanglement
from vaetune.evaluation.ais import ais
from vaetune.evaluation.replicate import Split
from vaetune.models.base import Generative
from vaetune.models.conjoint import Conjoint
from vaetune.noise import Noise

_BATCH = 1000
CHAINS, TEMPERATURES, LEAPFROGS = 16, 200, 5


@torch.inference_mode()
def disentangled(model: Generative, test: Split, factors: NDArray[np.int64], seed: int) -> dict[str, float]:
    """The scores of the codes without noise of test images against their `factors` [N, K]."""
    codes = torch.cat([model.code(x, None, y).mu for x, y in _batches(test)])
    return disentanglement.scores(codes.double().cpu().numpy(), factors, seed)


@torch.inference_mode()
def transfer_errors(model: Conjoint, test: Split, exchanged: NDArray[np.uint8]) -> Tensor:
    """[N], the mean over pixels of the squared distance between an image made by transfer and what it ought to be.

    Each left image of the pairs `test` gets the private part of another one's code; `exchanged` are the left images
    that really have that private part (see `vaetune.datasets.exchange`).
    """
    device = test[1].device
    codes = torch.cat([model.code(x).mu for x, _ in _batches(test)])
    private = model.parts[0]
    moved = torch.cat((codes[torch.from_numpy(sources(len(codes))).to(device), :private], codes[:, private:]), -1)
    parts = []
    for z, target in zip(moved.split(_BATCH), torch.from_numpy(exchanged).split(_BATCH), strict=True):  # type: ignore[no-untyped-call]
        made = model.decode(z)[:, : target.shape[1]]
        parts.append((made - unit(target.to(device))).double().square().mean((1, 2, 3)))
    return torch.cat(parts)


def neg_ais(model: Generative, test: Split, n: int, generator: torch.Generator) -> Tensor:
    """−log p(x) [n] of the first n test images, by annealed importance sampling; too high in expectation.

    A model that binarizes is asked for one draw of each image's pixels.
    """
    x, y = test
    first = (Part(x.source, x.index[:n]) if isinstance(x, Part) else x[:n]), y[:n]
    images = torch.cat([part for part, _ in _batches(first)])
    model.requires_grad_(False)
    observed = model.observed(images, Noise(generator))
    found = ais(
        model, observed, first[1], chains=CHAINS, temperatures=TEMPERATURES, leapfrogs=LEAPFROGS, generator=generator
    )
    if not found.isfinite().all():
        raise FloatingPointError("log p(x) by annealed importance sampling is not finite")
    return -found


def _batches(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in zip(*(part.split(_BATCH) for part in split), strict=True):
        yield unit(images), labels
