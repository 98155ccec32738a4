"""The IDX format of the MNIST family: two zero bytes, a type, the number of dimensions, the sizes, the bytes.

The format is described at http://yann.lecun.com/exdb/mnist/. Only unsigned bytes (type 0x08) occur here. Reading is
strict: a file that is a byte short or long is an error, because a reader that shrugs turns a broken copy into results.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import UserError

_UNSIGNED_BYTE = 0x08


def parse(data: bytes, where: str) -> NDArray[np.uint8]:
    """The array in `data`, read-only; raises `UserError` that begins with `where`."""
    if len(data) < 4 or data[:2] != b"\0\0":
        raise UserError(f"{where}: not an IDX file: it begins with {data[:4].hex(' ') or 'nothing'}, not with 00 00")
    if data[2] != _UNSIGNED_BYTE:
        raise UserError(f"{where}: IDX type 0x{data[2]:02x}, expected 0x08 (unsigned bytes)")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < start:
        raise UserError(f"{where}: IDX header of {dimensions} dimensions cut short at {len(data)} bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    found, expected = len(data) - start, math.prod(shape)
    if found != expected:
        what = "truncated" if found < expected else "trailing bytes"
        raise UserError(f"{where}: {what}: {found:,} bytes after the header, shape {shape} needs {expected:,}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def encode(array: NDArray[np.uint8]) -> bytes:
    """The bytes of an IDX file; the inverse of `parse`."""
    assert array.dtype == np.uint8
    assert 0 < array.ndim < 256
    return bytes([0, 0, _UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def decoded(path: Path) -> bytes:
    """The file's bytes, unpacked if its name ends in .gz; raises `UserError` for a damaged archive."""
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged gzip archive ({error}); delete it and fetch it again") from error


def read(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file, gzipped or not; read-only."""
    return parse(decoded(path), str(path))
