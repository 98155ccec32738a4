"""From images as people have them to what a model takes: float32 [B, C, H, W] in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vaetune.errors import UserError

Images = Tensor | NDArray[np.generic] | Image.Image | Sequence[Image.Image]


class Transform:
    """What was done to the images in training: to `shape` (C, H, W), from bytes to [0, 1]; nothing is standardised.

    Takes uint8, or floats that are in [0, 1] already, as [B, C, H, W], [C, H, W], or for grey images [B, H, W] and
    [H, W]. PIL images are converted to grey or RGB and resized; arrays of another size are refused.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.shape, self.device = tuple(shape), device

    def __call__(self, images: Images) -> Tensor:
        """The images on the model's device; raises `UserError` where they cannot be its."""
        if isinstance(images, Image.Image):
            images = [images]
        if not isinstance(images, Tensor | np.ndarray):
            images = np.stack([self._array(image) for image in images])
        found = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
        x = self._shaped(found).to(self.device)
        if x.dtype == torch.uint8:
            return x.float() / 255
        if not x.is_floating_point():
            raise UserError(f"images of {x.dtype}: give uint8 from 0 to 255, or floats in [0, 1]")
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise UserError(f"images with values from {x.min():g} to {x.max():g}: floats must be in [0, 1]")
        return x.float()

    def _shaped(self, x: Tensor) -> Tensor:
        expected = "x".join(map(str, self.shape))
        if tuple(x.shape[-3:]) == self.shape and x.ndim in (3, 4):
            return x if x.ndim == 4 else x.unsqueeze(0)
        if self.shape[0] == 1 and tuple(x.shape[-2:]) == self.shape[1:] and x.ndim in (2, 3):
            return x.reshape(-1, *self.shape)
        raise UserError(f"images of shape {tuple(x.shape)}: this model takes {expected} (channels, height, width)")

    def _array(self, image: Image.Image) -> NDArray[np.uint8]:
        channels, height, width = self.shape
        if channels not in (1, 3):
            raise UserError(f"a model for images of {channels} channels takes arrays or tensors")
        fitted = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)
