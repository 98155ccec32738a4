"""The conditional VAE of Sohn et al. (2015): the label reaches the encoder and the decoder."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from vaetune.errors import UserError
from vaetune.models.configs import CVAEConfig
from vaetune.models.gaussian_vae import GaussianVAE


@final
class CVAE(GaussianVAE):
    """A bound of log p(x|y); the prior of z stays N(0, I) whatever the label, where the paper's may be learned."""

    conditional: ClassVar[bool] = True

    def __init__(self, config: CVAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes, context=classes)

    def about(self, y: Tensor | None) -> Tensor:
        if y is None:
            raise UserError("a CVAE encodes and decodes with a label: pass y")
        return functional.one_hot(y, self.classes).to(torch.float32)
