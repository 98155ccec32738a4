"""CIFAR-10: 60,000 coloured pictures in ten classes (Krizhevsky, *Learning Multiple Layers of Features*, 2009).

The published files are pickles of Python 2. Only the published bytes are unpickled, and only into inert stand-ins:
whatever a file names, nothing of this interpreter is called.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from vaetune.datasets.base import Dataset, Images, Request
from vaetune.datasets.published import File, Source, locate_published
from vaetune.errors import UserError

SUMMARY = "60,000 pictures of animals and vehicles, 32×32 RGB (50,000 + 10,000)"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)

SOURCE = Source(
    folders=("cifar-10-batches-py",),  # torchvision's
    files=(
        File("data_batch_1", "md5:c99cafc152244af753f735de768cd75f"),
        File("data_batch_2", "md5:d4bba439e000b95fd0a9bffe97cbabec"),
        File("data_batch_3", "md5:54ebc095f3ab1f0389bbae665268c751"),
        File("data_batch_4", "md5:634d18415352ddfa80567beed471001a"),
        File("data_batch_5", "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
        File("test_batch", "md5:40351d587109b95175f43aff81a1287e"),
    ),
    url="https://www.cs.toronto.edu/~kriz/",
    archive=File("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"),
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Cifar10(Dataset):
    """The batches in `folder`; the last of the source's files is the test split."""

    source: Source
    folder: Path

    def development(self) -> Images:
        """The five published training batches."""
        return self._images(self.source.files[:-1])

    def sealed_test(self) -> Images:
        """The published test batch."""
        return self._images(self.source.files[-1:])

    def _images(self, files: tuple[File, ...]) -> Images:
        batches = [parse(file.read(self.folder), str(self.folder / file.name)) for file in files]
        images = np.concatenate([images for images, _ in batches])
        return Images(images, np.concatenate([labels for _, labels in batches]))


def dataset(request: Request) -> Dataset:
    """CIFAR-10, found in a data root or fetched."""
    return opened(SOURCE, request, test_size=10_000)


def opened(source: Source, request: Request, test_size: int) -> Dataset:
    """The dataset whose files are those of `source`."""
    return Cifar10(
        name="cifar10",
        summary=SUMMARY,
        licence="none stated by its authors",
        class_names=CLASS_NAMES,
        shape=_SHAPE,
        test_size=test_size,
        source=source,
        folder=locate_published("cifar10", source, request),
    )


def parse(data: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, 3, 32, 32], read-only, and labels of one batch; raises `UserError` that begins with `where`."""
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = batch[b"data"].array(), np.array(batch[b"labels"], np.int64)
        images = pixels.reshape(-1, *_SHAPE)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except (pickle.UnpicklingError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{where}: no batch of CIFAR-10 ({error})") from error
    if labels.shape != images.shape[:1] or (len(labels) and not 0 <= labels.min() <= labels.max() < len(CLASS_NAMES)):
        raise UserError(f"{where}: {len(images)} images with labels of shape {labels.shape}, expected one of 0…9 each")
    return images, labels


class _Type:
    """Stands in for numpy.dtype, which a pickle calls with its name, and then tells its byte order."""

    def __init__(self, name: bytes, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands in for numpy.ndarray: keeps what a pickle says of one, without acting on it."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[np.uint8]:
        """The bytes it holds, in its shape."""
        _, shape, kind, fortran, raw = self.state
        if kind.name != b"u1" or fortran:
            raise ValueError(f"an array of {kind.name!r}, expected bytes in C order")
        return np.frombuffer(raw, np.uint8).reshape(shape)


def _reconstruct(*_: object) -> _Array:
    return _Array()


class _Unpickler(pickle.Unpickler):
    _STAND_INS = {  # noqa: RUF012 - never written to
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._STAND_INS:
            raise UserError(f"it names {module}.{name}, which no batch of CIFAR-10 needs; refused")
        return self._STAND_INS[module, name]
