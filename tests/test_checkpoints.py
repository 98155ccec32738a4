"""A checkpoint comes back bit for bit or not at all, whatever was cut, flipped, killed or put in its place."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vaetune import checkpoints
from vaetune.checkpoints import Checkpoint, CheckpointError, finished, resume_point, save, save_partial
from vaetune.errors import UserError
from vaetune.storage import Storage

FILES = ["config.json", "manifest.json", "training.safetensors", "weights.safetensors"]


def checkpoint(epoch: int, training: bool = True) -> Checkpoint:
    """A small checkpoint whose every file depends on `epoch`."""
    weights = {"layer.weight": torch.full((2, 3), float(epoch)), "layer.bias": torch.arange(3.0) - epoch}
    live = {"generator": torch.full((16,), epoch % 256, dtype=torch.uint8), "adam.step": torch.tensor(epoch)}
    return Checkpoint({"epoch": epoch, "best": None, "shape": [1, 28, 28]}, weights, live if training else {})


def load(storage: Storage, member_id: str) -> Checkpoint:
    """All of it."""
    return checkpoints.load(storage, member_id, training=True)


def same(a: Checkpoint | None, b: Checkpoint | None) -> bool:
    """Equal configurations, and tensors equal in name, dtype, shape and bits."""
    if a is None or b is None:
        return a is b
    return a.config == b.config and identical(a.weights, b.weights) and identical(a.training, b.training)


def identical(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    def bits(tensors: dict[str, Tensor]) -> dict[str, Any]:
        return {n: (t.dtype, t.shape, t.contiguous().flatten().view(torch.uint8).tolist()) for n, t in tensors.items()}

    return bits(a) == bits(b)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def test_a_final_checkpoint_round_trips_and_replaces_the_partial_ones(storage: Storage) -> None:
    save_partial(storage, "svae-0001", checkpoint(1))
    assert not finished(storage, "svae-0001")
    save(storage, "svae-0001", checkpoint(2))
    assert finished(storage, "svae-0001") and same(load(storage, "svae-0001"), checkpoint(2))
    assert resume_point(storage, "svae-0001") is None
    assert storage.list("checkpoints/svae-0001") == FILES


def test_training_state_is_written_only_when_there_is_some(storage: Storage) -> None:
    save(storage, "m", checkpoint(1))
    save(storage, "m", checkpoint(2, training=False))
    assert storage.list("checkpoints/m") == [name for name in FILES if "training" not in name]
    assert same(load(storage, "m"), checkpoint(2, training=False))


def test_training_state_is_read_only_when_asked_for_and_can_stay_behind(
    storage: Storage,
) -> None:
    save(storage, "m", checkpoint(1))
    storage.write("checkpoints/m/training.safetensors", b"damaged")
    assert same(checkpoints.load(storage, "m"), checkpoint(1, training=False))
    with pytest.raises(CheckpointError, match=r"training.safetensors is damaged"):
        load(storage, "m")
    for name in checkpoints.PORTABLE:
        storage.write(f"checkpoints/copy/{name}", storage.read(f"checkpoints/m/{name}"))
    manifest = checkpoints.portable(storage.read("checkpoints/m/manifest.json"))
    storage.write("checkpoints/copy/manifest.json", manifest)
    assert same(load(storage, "copy"), checkpoint(1, training=False))
    assert checkpoints.portable(manifest) == manifest


@pytest.mark.parametrize(
    ("epochs", "kept"), [((1, 2, 9, 10), "000009 000010"), ((7, 999_999, 10**6), "1000000 999999")]
)
def test_the_last_two_partial_checkpoints_are_kept(storage: Storage, epochs: tuple[int, ...], kept: str) -> None:
    for epoch in epochs:
        save_partial(storage, "m", checkpoint(epoch))
    assert storage.list("checkpoints/m/partial") == kept.split()
    assert same(resume_point(storage, "m"), checkpoint(epochs[-1]))


def test_training_that_goes_back_leaves_no_later_epoch_behind(storage: Storage) -> None:
    for epoch in (8, 9, 3):
        save_partial(storage, "m", checkpoint(epoch))
    assert same(resume_point(storage, "m"), checkpoint(3))
    assert storage.list("checkpoints/m/partial") == ["000003"]


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_partial_checkpoint_is_reported_and_the_one_before_taken(
    storage: Storage, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    for epoch in (4, 5):
        save_partial(storage, "m", checkpoint(epoch))
    storage.write(f"checkpoints/m/partial/000005/{file}", b"{}")
    with caplog.at_level(logging.WARNING):
        assert same(resume_point(storage, "m"), checkpoint(4))
    assert "000005" in caplog.text
    storage.write(f"checkpoints/m/partial/000004/{file}", b"")
    assert resume_point(storage, "m") is None


def test_a_folder_without_manifest_does_not_exist(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    for epoch in (4, 5):
        save_partial(storage, "m", checkpoint(epoch))
    storage.delete("checkpoints/m/partial/000005/manifest.json")
    assert same(resume_point(storage, "m"), checkpoint(4)) and not caplog.records
    save_partial(storage, "m", checkpoint(6))
    assert storage.list("checkpoints/m/partial") == ["000004", "000006"]
    save(storage, "n", checkpoint(1))
    storage.delete("checkpoints/n/manifest.json")
    assert not finished(storage, "n")
    with pytest.raises(CheckpointError, match="not there"):
        load(storage, "n")


@pytest.mark.parametrize("member", ["", ".", "..", "../m", "a/b", "/etc"])
def test_ids_are_single_names(storage: Storage, member: str) -> None:
    for call in (load, resume_point, finished):
        with pytest.raises(UserError, match="member's id"):
            call(storage, member)


def test_every_file_must_be_there(storage: Storage) -> None:
    for file in FILES:
        save(storage, "m", checkpoint(1))
        storage.delete(f"checkpoints/m/{file}")
        with pytest.raises(CheckpointError, match=file):
            load(storage, "m")


def _manifest(storage: Storage, change: Any) -> None:
    manifest = json.loads(storage.read("checkpoints/m/manifest.json"))
    change(manifest)
    storage.write("checkpoints/m/manifest.json", json.dumps(manifest).encode())


def test_another_format_is_named(storage: Storage) -> None:
    save(storage, "m", checkpoint(1))
    _manifest(storage, lambda m: m.update(format=2, files="laid out in another way"))
    with pytest.raises(CheckpointError, match="format 2, this vaetune reads 1"):
        load(storage, "m")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "manifest.json", "code.py", "partial/000001/config.json"])
def test_a_manifest_cannot_point_elsewhere(storage: Storage, name: str) -> None:
    save(storage, "m", checkpoint(1))
    storage.write("checkpoints/secret", b"s")
    entry = {"sha256": hashlib.sha256(b"s").hexdigest(), "bytes": 1}
    _manifest(storage, lambda m: m["files"].update({name: entry}))
    with pytest.raises(CheckpointError, match="not the files of a checkpoint"):
        load(storage, "m")


@pytest.mark.parametrize("file", ["weights.safetensors", "config.json"])
def test_a_manifest_cannot_leave_a_file_out(storage: Storage, file: str) -> None:
    save(storage, "m", checkpoint(1))
    _manifest(storage, lambda m: m["files"].pop(file))
    with pytest.raises(CheckpointError, match="not the files of a checkpoint"):
        load(storage, "m")


@pytest.mark.parametrize(
    "manifest", ["[]", "null", '{"format": 1}', '{"format": 1, "files": {"config.json": 3}}', "\xff"]
)
def test_nonsense_in_the_manifest_is_damage(storage: Storage, manifest: str) -> None:
    storage.write("checkpoints/m/manifest.json", manifest.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load(storage, "m")


class Trap:
    """Unpickling it would leave a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("file", ["weights.safetensors", "training.safetensors"])
def test_pickles_are_never_opened(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.chdir(tmp_path)
    save(storage, "m", checkpoint(1))
    data = pickle.dumps({"layer.weight": Trap()})
    storage.write(f"checkpoints/m/{file}", data)
    _manifest(
        storage, lambda m: m["files"].update({file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}})
    )
    with pytest.raises(CheckpointError, match="not readable"):
        load(storage, "m")
    assert not Path("unpickled").exists()


def test_weights_are_plain_safetensors(storage: Storage) -> None:
    save(storage, "m", checkpoint(3))
    assert identical(safetensors.torch.load(storage.read("checkpoints/m/weights.safetensors")), checkpoint(3).weights)


def test_views_parameters_and_shared_memory_are_copied(storage: Storage) -> None:
    stack = torch.arange(24.0).reshape(2, 3, 4)
    weights = {"a": stack[0], "b": stack[1].T, "c": stack[:, 0], "d": stack[0], "e": stack[0, :1].expand(3, 4)}
    weights["f"] = torch.nn.Parameter(stack[1])
    save(storage, "m", Checkpoint({}, weights, {}))
    back = load(storage, "m").weights
    assert identical(back, weights)
    assert all(t.is_contiguous() and not t.requires_grad and t.device.type == "cpu" for t in back.values())


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of kills in the time of one."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Killed(Exception):
    """The process ended here."""


class Dying(Storage):
    """A storage whose process is killed before its n-th change; folders are deleted file by file, in a bad order."""

    lives = 10**6

    def _change(self) -> None:
        if self.lives == 0:
            raise Killed
        self.lives -= 1

    def write(self, path: str, data: bytes) -> None:
        self._change()
        super().write(path, data)

    def delete(self, path: str) -> None:
        for name in reversed(self.list(path)):
            self.delete(f"{path}/{name}")
        self._change()
        super().delete(path)


def _interrupted(root: Path, lives: int, action: Any) -> bool:
    dying = Dying(root)
    dying.lives = lives
    try:
        action(dying)
    except Killed:
        return True
    return False


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("training", [True, False])
def test_killed_while_replacing_a_final_checkpoint_the_old_or_the_new_one_loads(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, training: bool
) -> None:
    outcomes = []
    for first in range(100):
        root = tmp_path_factory.mktemp("root")
        save(Storage(root), "m", checkpoint(1))
        if not _interrupted(root, first, lambda s: save(s, "m", checkpoint(2, training))):
            break
        assert finished(Storage(root), "m")
        back = load(Storage(root), "m")
        outcomes.append(back.config["epoch"])
        assert same(back, checkpoint(1) if outcomes[-1] == 1 else checkpoint(2, training))
        # Killed once more, anywhere in the next attempt, there is still one of the three.
        for second in range(100):
            copy = Storage(tmp_path_factory.mktemp("copy"))
            _copy(Storage(root), copy)
            assert copy.local is not None
            if not _interrupted(copy.local, second, lambda s: save(s, "m", checkpoint(3))):
                assert same(load(copy, "m"), checkpoint(3)) and copy.list("checkpoints/m") == FILES
                break
            back = load(copy, "m")
            assert same(
                back, checkpoint(2, training) if back.config["epoch"] == 2 else checkpoint(back.config["epoch"])
            )
        else:
            pytest.fail("save never ended")
    assert same(load(Storage(root), "m"), checkpoint(2, training))
    assert outcomes == sorted(outcomes) and set(outcomes) == {1, 2}
    assert not caplog.records  # being killed is not damage


def _copy(source: Storage, target: Storage) -> None:
    assert source.local is not None
    for path in source.local.rglob("*"):
        if path.is_file():
            target.write(path.relative_to(source.local).as_posix(), path.read_bytes())


def test_killed_while_a_first_final_checkpoint_is_written_training_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for lives in range(100):
        root = tmp_path_factory.mktemp("root")
        save_partial(Storage(root), "m", checkpoint(7))
        killed = _interrupted(root, lives, lambda s: save(s, "m", checkpoint(8)))
        if finished(Storage(root), "m"):
            assert same(load(Storage(root), "m"), checkpoint(8))
        else:
            assert same(resume_point(Storage(root), "m"), checkpoint(7))
        if not killed:
            return
    pytest.fail("save never ended")


def test_killed_while_a_partial_checkpoint_is_written_at_most_that_one_is_lost(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    for lives in range(100):
        root = tmp_path_factory.mktemp("root")
        for epoch in (1, 2):
            save_partial(Storage(root), "m", checkpoint(epoch))
        killed = _interrupted(root, lives, lambda s: save_partial(s, "m", checkpoint(3)))
        back = resume_point(Storage(root), "m")
        assert back is not None and back.config["epoch"] in (2, 3) and same(back, checkpoint(back.config["epoch"]))
        if not killed:
            assert back.config["epoch"] == 3 and not caplog.records
            return
    pytest.fail("save_partial never ended")


def test_a_replacement_that_rotted_does_not_hide_the_one_it_was_to_replace(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    save(storage, "m", checkpoint(1))
    save(storage, "n", checkpoint(2))
    _copy(storage.below("checkpoints/n"), storage.below("checkpoints/m/incoming"))
    assert same(load(storage, "m"), checkpoint(2)) and not caplog.records
    storage.write("checkpoints/m/incoming/weights.safetensors", b"rotten")
    assert same(load(storage, "m"), checkpoint(1)) and "weights.safetensors is damaged" in caplog.text
    save(storage, "m", checkpoint(3))
    assert same(load(storage, "m"), checkpoint(3)) and storage.list("checkpoints/m") == FILES


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
configs = st.dictionaries(
    st.text(max_size=5),
    st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3)),
    max_size=4,
)
DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int16,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bit pattern of any dtype, NaN payloads included."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = torch.empty(shape, dtype=dtype).nbytes
    raw = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        raw = bytearray(byte & 1 for byte in raw)
    return torch.frombuffer(raw, dtype=dtype).reshape(shape) if raw else torch.empty(shape, dtype=dtype)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
any_checkpoint = st.builds(
    Checkpoint, configs, st.dictionaries(names, tensors(), max_size=3), st.dictionaries(names, tensors(), max_size=3)
)


@settings(deadline=None, max_examples=40)
@given(one=any_checkpoint, epoch=st.integers(0, 10**7))
def test_any_checkpoint_round_trips(tmp_path_factory: pytest.TempPathFactory, one: Checkpoint, epoch: int) -> None:
    storage = Storage(tmp_path_factory.mktemp("root"))
    one.config["epoch"] = epoch
    save_partial(storage, "m", one)
    assert same(resume_point(storage, "m"), one)
    save(storage, "m", one)
    assert same(load(storage, "m"), one)


@settings(deadline=None, max_examples=80)
@given(file=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.none() | st.integers(0, 7))
def test_any_flipped_bit_and_any_cut_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, file: str, where: float, bit: int | None
) -> None:
    storage = Storage(tmp_path_factory.mktemp("root"))
    save(storage, "m", checkpoint(1))
    data = bytearray(storage.read(f"checkpoints/m/{file}"))
    place = int(where * len(data))
    if bit is None:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    storage.write(f"checkpoints/m/{file}", bytes(data))
    with pytest.raises(CheckpointError):
        load(storage, "m")
