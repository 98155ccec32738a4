"""Checkpoints of members: safetensors, JSON and hashes, committed by a manifest that is written last. Never pickle.

    checkpoints/<id>/{config.json, weights.safetensors, training.safetensors, manifest.json}
                                         final; of a replicate with its training state, so that it can be trained on
    checkpoints/<id>/partial/<epoch>/…   the last two of a member in training
    checkpoints/<id>/incoming/…          while a final one is replaced

A folder without manifest does not exist. One process at a time writes the checkpoints of a member; any may read them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vaetune.errors import UserError
from vaetune.storage import Storage

FORMAT = 1
CONFIG, WEIGHTS, TRAINING, MANIFEST = "config.json", "weights.safetensors", "training.safetensors", "manifest.json"
PORTABLE = (CONFIG, WEIGHTS, MANIFEST)
"""The files of a checkpoint that is taken elsewhere: to be looked at, not to be trained on."""
_KEPT = 2
_log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or not ours."""


@dataclass(frozen=True)
class Checkpoint:
    """What is needed to score a member again, and, while it trains, to go on with it.

    `config` is plain JSON (a partial checkpoint's holds "epoch", the epochs trained); `weights` are the ones that are
    scored; `training` is the live state (weights, optimizer moments, averages, generator states as uint8), or empty.
    Tensors come back on the CPU, contiguous, with the dtype and shape they had.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    training: dict[str, Tensor]


@dataclass(frozen=True)
class Stated:
    """The SHA-256, in hex, and the size in bytes that a manifest states of a file."""

    sha256: str
    size: int

    def fits(self, data: bytes) -> bool:
        """Whether `data` is that file."""
        return (_sha256(data), len(data)) == (self.sha256, self.size)


def save(storage: Storage, member_id: str, checkpoint: Checkpoint) -> None:
    """Write a member's final checkpoint and remove its partial ones; raises OSError when the storage fails.

    Interrupted at any point, either the one it replaces or the new one loads.
    """
    final = _folder(member_id)
    incoming = f"{final}/incoming"
    files = _encode(checkpoint)
    if storage.exists(f"{incoming}/{MANIFEST}"):  # an earlier replacement died half-way; the final one may be torn
        try:
            _write(storage, final, _read(storage, incoming))
        except CheckpointError as error:
            _log.warning("%s; dropping it", error)
    if storage.exists(f"{final}/{MANIFEST}"):
        _remove(storage, incoming)
        _write(storage, incoming, files)
    _write(storage, final, files)
    _remove(storage, incoming)
    _remove(storage, f"{final}/partial")


def save_partial(storage: Storage, member_id: str, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of a member that still trains; keeps the one before, removes all others.

    What lies at a later epoch belongs to a course of training that was abandoned, and goes too.
    """
    partial = f"{_folder(member_id)}/partial"
    epoch = int(checkpoint.config["epoch"])
    name = f"{epoch:06d}"
    _remove(storage, f"{partial}/{name}")
    _write(storage, f"{partial}/{name}", _encode(checkpoint))
    kept = [other for other in _partials(storage, partial) if int(other) <= epoch][-_KEPT:]
    for other in storage.list(partial):
        if other not in kept:
            _remove(storage, f"{partial}/{other}")


def load(storage: Storage, member_id: str, *, training: bool = False) -> Checkpoint:
    """A member's final checkpoint; raises `CheckpointError` when it is missing, damaged or of another format.

    Its `training` state, which is several times as large as its weights, is read only if that is asked for.
    """
    final = _folder(member_id)
    incoming = f"{final}/incoming"
    if storage.exists(f"{incoming}/{MANIFEST}"):  # newer, and whole where the final one is just being replaced
        try:
            return decode(_read(storage, incoming, training), f"{storage.uri}/{incoming}")
        except CheckpointError as error:
            _log.warning("%s; reading the one that it was to replace", error)
    return decode(_read(storage, final, training), f"{storage.uri}/{final}")


def resume_point(storage: Storage, member_id: str) -> Checkpoint | None:
    """The newest intact partial checkpoint of a member; None when there is none. Damaged ones are logged."""
    partial = f"{_folder(member_id)}/partial"
    for name in reversed(_partials(storage, partial)):
        try:
            return decode(_read(storage, f"{partial}/{name}"), f"{storage.uri}/{partial}/{name}")
        except CheckpointError as error:
            _log.warning("%s; looking for an earlier one", error)
    return None


def finished(storage: Storage, member_id: str) -> bool:
    """Whether the member has a final checkpoint (by its manifest; `load` checks the rest)."""
    return storage.exists(f"{_folder(member_id)}/{MANIFEST}")


def check_id(member_id: str) -> None:
    """Raises `CheckpointError` for what cannot be a member's id, and so the name of its folder."""
    if not member_id or member_id in (".", "..") or "/" in member_id:
        raise CheckpointError(f"{member_id!r} is no member's id: expected one such as svae-rep03")


def _folder(member_id: str) -> str:
    check_id(member_id)
    return f"checkpoints/{member_id}"


def _partials(storage: Storage, partial: str) -> list[str]:
    """The names of the committed partial checkpoints, earliest first."""
    names = sorted((name for name in storage.list(partial) if name.isdecimal()), key=int)
    return [name for name in names if storage.exists(f"{partial}/{name}/{MANIFEST}")]


def _remove(storage: Storage, folder: str) -> None:
    storage.delete(f"{folder}/{MANIFEST}")  # first, so that what a kill leaves behind does not exist
    storage.delete(folder)


def _write(storage: Storage, folder: str, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        storage.write(f"{folder}/{name}", data)
    entries = {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()}
    manifest = {"format": FORMAT, "files": entries}
    storage.write(f"{folder}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
    if TRAINING not in files:  # of the checkpoint that was here before
        storage.delete(f"{folder}/{TRAINING}")


def _read(storage: Storage, folder: str, training: bool = True) -> dict[str, bytes]:
    """The files that the manifest names, each of the size and hash it states."""
    where = f"checkpoint {storage.uri}/{folder}"
    return intact(lambda name: storage.read(f"{folder}/{name}"), where, training)


def intact(read: Callable[[str], bytes], where: str, training: bool = True) -> dict[str, bytes]:
    """The files of a checkpoint that `read` gives by name, each of the size and hash that the manifest states.

    `read` raises FileNotFoundError. Nothing but the names of a checkpoint's files is ever asked of it, and that of the
    `training` state only if it is wanted. Raises `CheckpointError`, which says that it is `where`.
    """
    try:
        entries = stated(read(MANIFEST), where)
    except FileNotFoundError as error:
        raise CheckpointError(f"{where}: not there (no {MANIFEST}); finish or repeat the member's training") from error
    if not training:
        entries.pop(TRAINING, None)
    files = {}
    for name, expected in entries.items():
        try:
            files[name] = read(name)
        except FileNotFoundError as error:
            raise CheckpointError(f"{where}: {name} is missing; restore it or train again") from error
        if not expected.fits(files[name]):
            raise CheckpointError(f"{where}: {name} is damaged (size or hash differs); restore it or train again")
    return files


def stated(manifest: bytes, where: str) -> dict[str, Stated]:
    """What a manifest says of each file; raises `CheckpointError` unless these are the files of a checkpoint."""
    try:
        found = json.loads(manifest)
        version, entries = found["format"], found["files"]
        stated = (
            {name: Stated(entry["sha256"], entry["bytes"]) for name, entry in entries.items()}
            if version == FORMAT
            else {}
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{where}: {MANIFEST} is damaged: {error!r}; restore it or train again") from error
    if version != FORMAT:
        raise CheckpointError(f"{where}: format {version!r}, this vaetune reads {FORMAT}; use the one that wrote it")
    if not {CONFIG, WEIGHTS} <= stated.keys() <= {CONFIG, WEIGHTS, TRAINING}:
        raise CheckpointError(
            f"{where}: {MANIFEST} names {sorted(stated)}, not the files of a checkpoint; do not use it"
        )
    return stated


def portable(manifest: bytes) -> bytes:
    """The manifest of a copy that leaves the training state out."""
    found = json.loads(manifest)
    if found["files"].pop(TRAINING, None) is None:
        return manifest
    return json.dumps(found, indent=1).encode()


def _encode(checkpoint: Checkpoint) -> dict[str, bytes]:
    files = {
        CONFIG: json.dumps(checkpoint.config, indent=1, sort_keys=True).encode(),
        WEIGHTS: _pack(checkpoint.weights),
    }
    return files | ({TRAINING: _pack(checkpoint.training)} if checkpoint.training else {})


def decode(files: Mapping[str, bytes], where: str) -> Checkpoint:
    """A checkpoint from its files by name; raises `CheckpointError` that says `where` it is from."""
    try:
        config = json.loads(files[CONFIG])
        weights = safetensors.torch.load(files[WEIGHTS])
        training = safetensors.torch.load(files[TRAINING]) if TRAINING in files else {}
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {where}: not readable: {error}; restore it or train again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"checkpoint {where}: {CONFIG} holds no object; restore it or train again")
    return Checkpoint(config, weights, training)


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    # The copy parts tensors that share memory (members' slices of one stack), which safetensors refuses.
    return safetensors.torch.save(
        {n: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for n, t in tensors.items()}
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
