from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from vaetune.errors import UserError
from vaetune.storage import Storage
from vaetune.study.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Store:
    """Refuses the first `refusals` writes."""

    def __init__(self, refusals: float) -> None:
        self.refusals, self.tried = refusals, 0

    def write(self) -> None:
        self.tried += 1
        if self.tried <= self.refusals:
            raise OSError(28, "No space left on device")


def patience(said: list[str], clock: Clock, give_up: bool = False) -> Patience:
    return Patience(said.append, lambda: give_up, 60.0, clock, clock.sleep)


def test_a_write_that_works_says_nothing() -> None:
    said: list[str] = []
    patience(said, Clock())(Store(0).write)
    assert said == []


def test_a_storage_that_comes_back_is_waited_for_and_said_once() -> None:
    said: list[str] = []
    clock, store = Clock(), Store(4)
    patience(said, clock)(store.write)
    assert store.tried == 5
    assert len(said) == 2
    assert "No space left" in said[0]
    assert clock.now == 1 + 2 + 4 + 5


def test_after_the_limit_it_gives_up_and_does_not_wait_again() -> None:
    clock, store = Clock(), Store(float("inf"))
    writing = patience([], clock)
    with pytest.raises(UserError, match="No space left"):
        writing(store.write)
    assert 60 <= clock.now <= 75
    before, tried = clock.now, store.tried
    with pytest.raises(UserError):
        writing(store.write)
    assert clock.now == before
    assert store.tried == tried + 1


def test_what_is_missing_is_not_waited_for() -> None:
    clock = Clock()

    def read() -> bytes:
        raise FileNotFoundError("no such part")

    with pytest.raises(FileNotFoundError):
        patience([], clock)(read)
    assert clock.now == 0


def test_a_storage_of_patience_tries_again_below_and_loses_it_when_pickled(tmp_path: Path) -> None:
    said: list[str] = []
    clock, refusing = Clock(), Store(2)
    storage = Storage(tmp_path).patient(patience(said, clock)).below("a")

    def fsync(descriptor: int) -> None:
        refusing.write()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        storage.write("b", b"1")
    assert (tmp_path / "a" / "b").read_bytes() == b"1"
    assert len(said) == 2
    assert pickle.loads(pickle.dumps(storage)).read("b") == b"1"


def test_an_interrupt_ends_the_waiting() -> None:
    clock, store = Clock(), Store(float("inf"))
    with pytest.raises(UserError):
        patience([], clock, give_up=True)(store.write)
    assert clock.now == 0
