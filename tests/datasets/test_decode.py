from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaetune.datasets.decode import Decoder, size_of
from vaetune.errors import UserError

EXACT = Decoder(shape=(3, 4, 6), crop=False)
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_pixels_come_back_exactly_channels_first(tmp_path: Path) -> None:
    found = EXACT(saved(tmp_path / "a.png", Image.fromarray(PIXELS)))
    assert found.dtype == np.uint8
    assert np.array_equal(found, PIXELS.transpose(2, 0, 1))


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (32, 32, 3))
    found = Decoder((3, 32, 32), crop=False)(saved(tmp_path / "a.jpg", Image.fromarray(smooth.copy())))
    assert np.abs(found.astype(int) - smooth.transpose(2, 0, 1)).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "RGB"])
def test_any_eight_bit_mode_becomes_what_was_asked_for(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(PIXELS).convert(mode))
    assert EXACT(path).shape == (3, 4, 6)
    assert Decoder((1, 4, 6), crop=False)(path).shape == (1, 4, 6)


def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert EXACT(tmp_path / "a.png")[:, 0, 0].tolist() == [200, 100, 50]


def test_cropping_takes_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    found = Decoder((1, 10, 10), crop=True)(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert found.shape == (1, 10, 10)
    assert found[:, :, 1:-1].min() == 255


def test_another_size_without_cropping_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png: 5x5 pixels, the first image has 6x4; give a size"):
        EXACT(saved(tmp_path / "a.png", Image.new("RGB", (5, 5))))


def test_sixteen_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.full((4, 6), 40_000, np.uint16)))
    with pytest.raises(UserError, match=r"a\.png: mode I;16, expected 8 bits"):
        EXACT(path)


def bytes_of(form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"this is no picture", "not an image"),
        (bytes_of("JPEG")[:-900], "truncated"),
        (bytes_of("PNG")[:-900], "truncated"),
        (bytes_of("PNG")[:20], "Truncated"),
        (bytes_of("PNG").replace(b"IDAT", b"IDXX"), "."),
    ],
    ids=["empty", "text", "cut jpeg", "cut png", "cut header", "broken chunk"],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.jpg: .*({words})"):
        Decoder((3, 64, 64), crop=False)(path)


def test_a_decompression_bomb_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (40, 40)))
    for limit in (1000, 100):  # above the limit Pillow warns, above twice the limit it raises
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UserError, match="decompression bomb"):
            Decoder((3, 4, 4), crop=True)(path)


def test_the_size_is_height_first(tmp_path: Path) -> None:
    assert size_of(saved(tmp_path / "a.png", Image.new("RGB", (6, 4)))) == (4, 6)
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.png: empty file"):
        size_of(tmp_path / "b.png")


def test_a_window_is_cut_from_the_centre_before_resizing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    found = Decoder((3, 10, 10), crop=True, window=10)(path)
    assert np.array_equal(found, pixels[5:15, 10:20].transpose(2, 0, 1))
    with pytest.raises(UserError, match=r"a\.png: 30x21 pixels, too small for a window of 22x22"):
        Decoder((3, 10, 10), crop=True, window=22)(path)
