"""Images to one picture, pictures to an animation."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GROUND, INK = (255, 255, 255), (61, 67, 77)
_TEXT = 13


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """An image [C, H, W] in [0, 1] as uint8 [H, W, 3]; of other than 3 channels the planes lie side by side, grey."""
    if len(image) != 3:
        image = image.permute(1, 0, 2).reshape(1, image.shape[1], -1).expand(3, -1, -1)
    out: NDArray[np.uint8] = (image.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy(force=True)
    return out


def grid(
    rows: Sequence[Sequence[Tensor] | Tensor],
    names: Sequence[str] = (),
    titles: Sequence[str] = (),
    gap: int = 2,
    corner: str = "",
    side: int = 44,
) -> Image.Image:
    """Rows of images [C, H, W] of one size as one picture: `names` left of the rows, `titles` above the columns.

    `corner` stands above the names. A title that is wider than its column is cut. Images lower than `side` pixels are
    enlarged by a whole factor, so that every pixel is a square.
    """
    height, width, _ = pixels(rows[0][0]).shape
    factor = max(1, -(-side // height))
    high, wide = height * factor + gap, width * factor + gap
    font = _font()
    left = max((int(font.getlength(text)) + 10 for text in (*names, corner) if text), default=gap)
    top = _TEXT + 9 if titles or corner else gap
    columns = max(len(row) for row in rows)
    out = Image.new("RGB", (left + columns * wide, top + len(rows) * high), GROUND)
    draw = ImageDraw.Draw(out)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            tile = Image.fromarray(pixels(image)).resize((width * factor, height * factor), Image.Resampling.NEAREST)
            out.paste(tile, (left + c * wide, top + r * high))
    for r, name in enumerate(names):
        draw.text((left - 6, top + r * high + (high - gap) // 2), name, INK, font, anchor="rm")
    for c, title in enumerate(titles):
        draw.text((left + c * wide + (wide - gap) // 2, top - 5), _fitted(title, wide, font), INK, font, anchor="ms")
    if corner:
        draw.text((left - 6, top - 5), corner, INK, font, anchor="rs")
    return out


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, or as much of it as fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    return next((cut for n in range(len(text), 0, -1) if font.getlength(cut := f"{text[:n]}…") <= width), "")


def stacked(pictures: Sequence[Image.Image], title: str) -> Image.Image:
    """Pictures one below the other, under a title."""
    height = _TEXT + 9
    out = Image.new("RGB", (max(p.width for p in pictures), height + sum(p.height for p in pictures)), GROUND)
    ImageDraw.Draw(out).text((5, height - 5), title, INK, _font(), anchor="ls")
    for picture in pictures:
        out.paste(picture, (0, height))
        height += picture.height
    return out


def sigmas(steps: float) -> str:
    """A number of standard deviations, as the pictures print it."""
    rounded = round(steps, 1)
    return f"{rounded:+.1f}σ".replace("-", "−") if rounded else "0"


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which has Greek letters; Pillow's has none."""
    return ImageFont.truetype(str(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")), _TEXT - 1)


@dataclass(frozen=True, eq=False)
class Animation:
    """Pictures of one size shown one after the other, for ever; a notebook shows it as it is."""

    frames: tuple[Image.Image, ...]
    milliseconds: int = 120

    def gif(self) -> bytes:
        """The animation as a GIF with one palette, so that colours do not flicker."""
        whole = Image.new("RGB", (self.frames[0].width, sum(f.height for f in self.frames)))
        top = 0
        for frame in self.frames:
            whole.paste(frame, (0, top))
            top += frame.height
        palette = whole.quantize(256, dither=Image.Dither.NONE)
        indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        out = io.BytesIO()
        # disposal and optimize as they are: Pillow otherwise drops frames that equal the one before, and their time.
        indexed[0].save(
            out, "GIF", save_all=True, append_images=indexed[1:], duration=self.milliseconds, loop=0, optimize=False
        )
        return out.getvalue()

    def save(self, path: str | Path) -> None:
        """Writes the GIF."""
        Path(path).write_bytes(self.gif())

    def _repr_html_(self) -> str:
        return f'<img alt="animation" src="data:image/gif;base64,{base64.b64encode(self.gif()).decode()}">'


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()
