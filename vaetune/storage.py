"""The folder that holds an execution, on a local disk or in S3: bytes in, bytes out, and never half a file."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs  # type: ignore[import-untyped]

from vaetune.errors import UserError

T = TypeVar("T")
_log = logging.getLogger(__name__)

BACK_OFF = (0.5, 1.0, 2.0)
"""Seconds to wait before the second, third and fourth try of a remote operation; then its error is raised."""

_ASIDE = ".aside"
_PROBE = "probe"


class Trying(Protocol):
    """Runs an action, once or until it succeeds, and returns its result."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """The action's result."""
        ...


def _once(action: Callable[[], T], /) -> T:
    return action()


class Storage:
    """A root folder, `runs/x` or `s3://bucket/prefix`, whose files are named by relative "/"-separated paths.

    A file that is seen is whole: local writes go aside and are renamed after fsync, an object appears when its
    upload completes, and its size is then checked. Credentials come from the environment only, the endpoint of S3
    from `AWS_ENDPOINT_URL` or from the URI (`?endpoint_override=http://…&region=…`). Pickles as its `uri` and opens
    its filesystem again where it arrives. Any method raises ValueError on an absolute path and on `..` in one.
    `trying` runs every operation and may run it again where it fails; it is not pickled.
    """

    def __init__(self, root: str | os.PathLike[str], trying: Trying | None = None) -> None:
        text = os.fspath(root)
        self._trying = trying or _once
        scheme, _, rest = text.partition("://")
        self.local: Path | None = None
        self._backend: _Backend
        if not rest or scheme == "file":
            self.local = Path(os.path.abspath(os.path.expanduser(rest or text)))
            self.uri = str(self.local)
            self._backend = _Disk(self.local)
        elif scheme == "s3":
            path, mark, query = text.partition("?")
            self.uri = path.rstrip("/") + mark + query
            filesystem, base = open_s3(self.uri)
            self._backend = _Objects(filesystem, base)
        else:
            raise UserError(f"storage {text!r}: neither a folder nor an s3:// address")

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.uri,)

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    def write(self, path: str, data: bytes) -> None:
        """Make or replace a file, and the folders above it. Returns when the data is durable; raises OSError."""
        self._trying(lambda: self._backend.write(_file(path), data))

    def read(self, path: str) -> bytes:
        """The bytes of a file; raises FileNotFoundError."""
        return self._trying(lambda: self._backend.read(_file(path)))

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder of that name."""
        return self._trying(lambda: self._backend.exists(_checked(path)))

    def list(self, path: str = "") -> list[str]:
        """The names of files and folders directly below a folder, sorted; empty when there is no such folder."""
        return sorted(self._trying(lambda: self._backend.names(_checked(path))))

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all below it; what is missing counts as removed."""
        self._trying(lambda: self._backend.delete(_file(path)))

    def probe(self) -> None:
        """Write something and remove it, to see whether that can be done; raises OSError."""
        self.write(_PROBE, bytes(4096))
        self.delete(_PROBE)

    def below(self, path: str) -> Storage:
        """The storage whose root is a folder of this one."""
        root, mark, query = self.uri.partition("?") if self.local is None else (self.uri, "", "")
        return Storage(f"{root}/{_checked(path)}{mark}{query}", self._trying)

    def patient(self, trying: Trying) -> Storage:
        """The same storage, each operation of which is run by `trying`; see `vaetune.study.patience`."""
        return Storage(self.uri, trying)


class _Backend(Protocol):
    def write(self, path: str, data: bytes) -> None: ...
    def read(self, path: str) -> bytes: ...
    def exists(self, path: str) -> bool: ...
    def names(self, path: str) -> list[str]: ...
    def delete(self, path: str) -> None: ...


class _Disk:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, data: bytes) -> None:
        target = self._root / path
        _make(target.parent)
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_ASIDE}")
        try:
            with open(aside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, target)
        except BaseException:  # whatever it was, an interrupt too: nothing half-written stays
            aside.unlink(missing_ok=True)
            raise
        _sync(target.parent)  # without it a power cut can undo the rename

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def exists(self, path: str) -> bool:
        return (self._root / path).exists()

    def names(self, path: str) -> list[str]:
        try:
            return [name for name in os.listdir(self._root / path) if not name.endswith(_ASIDE)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, path: str) -> None:
        target = self._root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


class _Objects:
    """Any pyarrow filesystem in which an object appears when its stream closes, as in S3."""

    def __init__(self, filesystem: fs.FileSystem, base: str) -> None:
        self._fs = filesystem
        self._base = base

    def write(self, path: str, data: bytes) -> None:
        def attempt() -> None:
            # The stream raises when a PUT fails; pyarrow.fs.copy_files does not.
            with self._fs.open_output_stream(self._at(path), compression=None) as stream:
                stream.write(data)
            size = self._fs.get_file_info(self._at(path)).size
            if size != len(data):
                raise OSError(f"{self._at(path)}: wrote {len(data)} bytes, the store holds {size}")

        _persist(attempt)

    def read(self, path: str) -> bytes:
        def attempt() -> bytes:
            with self._fs.open_input_stream(self._at(path), compression=None) as stream:
                return bytes(stream.read())

        return _persist(attempt)

    def exists(self, path: str) -> bool:
        return bool(self._type(path) != fs.FileType.NotFound)

    def names(self, path: str) -> list[str]:
        selector = fs.FileSelector(self._at(path), allow_not_found=True)
        return [info.base_name for info in _persist(lambda: self._fs.get_file_info(selector))]

    def delete(self, path: str) -> None:
        kind = self._type(path)
        # Gone meanwhile, by a try whose answer was lost; and some servers list folders that hold nothing any more.
        with contextlib.suppress(FileNotFoundError):
            if kind == fs.FileType.Directory:
                _persist(lambda: self._fs.delete_dir(self._at(path)))
            elif kind == fs.FileType.File:
                _persist(lambda: self._fs.delete_file(self._at(path)))

    def _type(self, path: str) -> fs.FileType:
        return _persist(lambda: self._fs.get_file_info(self._at(path))).type

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}".rstrip("/")


def open_s3(uri: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of an s3:// address and the path "bucket/prefix" in it; raises UserError."""
    parts = urlsplit(uri)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    for key in query.keys() - {"endpoint_override", "region", "scheme"}:
        raise UserError(
            f"storage s3://{parts.hostname}: unknown option {key!r}; credentials come from the environment only"
        )
    if "@" in parts.netloc or not parts.netloc:
        raise UserError("storage: write s3://bucket/prefix; credentials come from the environment only")
    endpoint = (
        query.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = query.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, str] = {}
    if endpoint:
        scheme, mark, host = endpoint.partition("://")
        options["endpoint_override"] = (host if mark else endpoint).rstrip("/")
        options["scheme"] = query.get("scheme") or (scheme if mark else "https")
    try:
        region = region or ("us-east-1" if endpoint else fs.resolve_s3_region(parts.netloc))
    except OSError as error:
        raise UserError(
            f"storage s3://{parts.netloc}: {error}; does the bucket exist? AWS_REGION names its region"
        ) from error
    return fs.S3FileSystem(region=region, connect_timeout=5, **options), parts.netloc + parts.path.rstrip("/")


def require_bucket(uri: str) -> None:
    """Raises `UserError` where the bucket of an s3:// address is not there or not for these credentials; asks once."""
    if not uri.startswith("s3://"):
        return
    filesystem, base = open_s3(uri)
    bucket = base.partition("/")[0]
    try:
        found = filesystem.get_file_info(bucket).type != fs.FileType.NotFound
    except OSError as error:
        raise UserError(
            f"storage {uri}: {error} Are there credentials in the environment, may they use the bucket, and is it in "
            f"the region {filesystem.region} (AWS_REGION)?"
        ) from error
    if not found:
        raise UserError(f"storage {uri}: there is no bucket {bucket}; make it, or name another one")


def _persist(action: Callable[[], T]) -> T:
    """The action's result, tried again after each pause of `BACK_OFF` while it raises an OSError."""
    for pause in BACK_OFF:
        try:
            return action()
        except FileNotFoundError:  # an answer, not a fault
            raise
        except OSError as error:
            _log.info("storage: %s; trying again in %g s", error, pause)
            time.sleep(pause)
    return action()


def _checked(path: str) -> str:
    if path and any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"path {path!r}: expected names separated by single slashes, below the root")
    return path


def _file(path: str) -> str:
    if not path:
        raise ValueError("path '': expected the name of a file or folder below the root")
    return _checked(path)


def _make(folder: Path) -> None:
    """Make a folder and those above it, each durably."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
