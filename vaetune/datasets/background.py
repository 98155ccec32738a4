"""Another grey dataset before a background that tells nothing of the class: `background:noise,mnist` and the like.

After the variations of MNIST in Larochelle et al., *An Empirical Evaluation of Deep Architectures on Problems with Many
Factors of Variation* (ICML 2007): `noise` is that of their mnist-back-rand, `patches` are those of mnist-back-image but
of other photographs. The rest is for models that tell what two datasets share from what each has for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets import open_dataset
from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.exchange import ExchangeDataset
from vaetune.datasets.patterns import KINDS
from vaetune.errors import UserError, unknown
from vaetune.seeding import derive

SUMMARY = f"another grey dataset before a background ({', '.join(KINDS)}), e.g. background:noise,mnist"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Background(ExchangeDataset):
    """White is in front: a pixel of brightness d over a background b shows d + (1 − d/255)·b."""

    base: Dataset
    kind: str

    def development(self) -> Images:
        """The other dataset's development images, each before a background of its own."""
        return self._before(self.base.development(), "development")

    def sealed_test(self) -> Images:
        """The other dataset's test images, each before a background of its own."""
        return self._before(self.base.sealed_test(), "test")

    def exchanged_test(self, source: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The other dataset's test images, each before the background of its source."""
        return self._before(self.base.sealed_test(), "test", source).images

    def _before(self, images: Images, split: str, source: NDArray[np.int64] | None = None) -> Images:
        rng = np.random.default_rng(derive(f"{self.name} {split}"))
        front = images.images.astype(np.uint16)
        behind = KINDS[self.kind](rng, *images.images[:, 0].shape)[:, np.newaxis]
        if source is not None:
            behind = behind[source]
        return Images((front + (255 - front) * behind // 255).astype(np.uint8), images.labels, images.groups)


def dataset(request: Request) -> Dataset:
    """The other dataset is opened as usual, from the same data roots."""
    kind, comma, name = request.argument.partition(",")
    if not comma or not name:
        raise UserError(f"dataset 'background:{request.argument}': write background:noise,mnist")
    if kind not in KINDS:
        raise unknown("background", kind, KINDS)
    base = open_dataset(name, request.root, request.download)
    if base.shape[0] != 1:
        raise UserError(f"background:{kind} needs grey images, {name!r} has {base.shape[0]} channels")
    return Background(
        name=f"background:{request.argument}",
        summary=f"{base.summary}; before a background of {kind}",
        licence=base.licence,
        class_names=base.class_names,
        shape=base.shape,
        test_size=base.test_size,
        base=base,
        kind=kind,
    )
