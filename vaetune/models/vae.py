"""The variational autoencoder of Kingma & Welling (2014), eq. 3; it is not told the label."""

from __future__ import annotations

from typing import final

from torch import Tensor

from vaetune.models.configs import VAEConfig
from vaetune.models.gaussian_vae import GaussianVAE


@final
class VAE(GaussianVAE):
    """Nothing but the images."""

    def __init__(self, config: VAEConfig, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(config, shape, classes, context=0)

    def about(self, y: Tensor | None) -> None:
        return None
