"""One image file to one array of bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vaetune.errors import UserError

_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
# What Pillow is known to raise on damaged files; anything else is a defect and must surface.
_DAMAGED = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Decoder:
    """Gives every image the same `shape` (C, H, W), C = 1 (grey) or 3 (RGB).

    With `crop`, the largest centred part of the right proportions is resized (bilinear, antialiased; what a resize of
    the shorter side and a centre crop give, in one step); without, an image of another size is an error. A `window`
    is cut out first: the centred square of so many pixels.
    Transparency is dropped, not blended. 16-bit and float images are refused: Pillow would clip them to white.
    """

    shape: tuple[int, int, int]
    crop: bool
    window: int | None = None

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """The image, uint8 [C, H, W]; raises `UserError` with the reason if the file is no such image."""
        channels, height, width = self.shape
        try:
            with Image.open(path) as image:
                _refuse_bombs(image)
                array = np.asarray(self._fit(_colours(image, channels), path))
        except UserError:
            raise
        except (*_DAMAGED, Image.DecompressionBombWarning) as error:
            raise UserError(f"{path}: {_why(path, error)}") from error
        return array.reshape(height, width, channels).transpose(2, 0, 1)

    def _fit(self, image: Image.Image, path: Path) -> Image.Image:
        _, height, width = self.shape
        if self.window:
            image = self._window(image, self.window, path)
        if image.size == (width, height):
            return image
        if not self.crop:
            found = f"{image.width}x{image.height}"
            raise UserError(f"{path}: {found} pixels, the first image has {width}x{height}; give a size: NAME@SIZE")
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        box = (left, top, left + scale * width, top + scale * height)
        return image.resize((width, height), Image.Resampling.BILINEAR, box=box)

    def _window(self, image: Image.Image, side: int, path: Path) -> Image.Image:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        if left < 0 or top < 0:
            raise UserError(f"{path}: {image.width}x{image.height} pixels, too small for a window of {side}x{side}")
        return image.crop((left, top, left + side, top + side))


def _refuse_bombs(image: Image.Image) -> None:
    """Pillow itself raises at twice its limit and only warns at once; warning filters are not safe between threads."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width}x{image.height} pixels: a decompression bomb?")


def size_of(path: Path) -> tuple[int, int]:
    """(height, width), from the file's header; raises `UserError` if it is no image."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _DAMAGED as error:
        raise UserError(f"{path}: {_why(path, error)}") from error


def _colours(image: Image.Image, channels: int) -> Image.Image:
    if image.mode not in _EIGHT_BIT:
        raise ValueError(f"mode {image.mode}, expected 8 bits a channel; convert it first")
    if image.mode in ("P", "PA"):  # by way of RGBA: a palette with transparency is mapped wrongly otherwise
        image = image.convert("RGBA")
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _why(path: Path, error: BaseException) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
