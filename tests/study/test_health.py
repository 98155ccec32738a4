from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from vaetune.errors import UserError
from vaetune.study import Resources, health


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waiting_ends_when_nothing_has_worked_for_too_long() -> None:
    clock = Clock()
    waiting = health.Waiting(10.0, clock)
    clock.now = 9.0
    waiting.look(False)
    waiting.look(True)
    clock.now = 19.0
    waiting.look(False)
    clock.now = 19.1
    with pytest.raises(health.Lost, match="no worker has started within 10 s"):
        waiting.look(False)


@pytest.mark.parametrize(("dead", "said"), [("raylet", "raylet"), ("gcs_server", "gcs_server"), ("log_monitor", "")])
def test_a_dead_server_of_ray_is_named(dead: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = SimpleNamespace(dead_processes=lambda: [(dead, None)])
    monkeypatch.setattr("ray._private.worker._global_node", node)
    if said:
        with pytest.raises(UserError, match=f"Ray's {said} has died"):
            health.check()
    else:
        health.check()


def test_what_ray_raises_because_it_has_died_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> None:
        with health.explained():
            raise error

    with pytest.raises(ConnectionError, match="elsewhere"):
        fail(ConnectionError("elsewhere"))
    node = SimpleNamespace(dead_processes=lambda: [("raylet", None)])
    monkeypatch.setattr("ray._private.worker._global_node", node)
    with pytest.raises(health.Lost, match="raylet"):
        fail(ConnectionError("no raylet"))
    with pytest.raises(health.Lost, match="raylet"):
        fail(ray.exceptions.RaySystemError("no raylet"))
    with pytest.raises(KeyError):
        fail(KeyError("another"))


class Cluster:
    """Stands for Ray: tasks run when they are waited for, unless no worker starts."""

    def __init__(self, starts: bool = True) -> None:
        self.starts, self.asked = starts, 0

    def remote(self, **options: Any) -> Any:
        assert options == {"num_cpus": 1, "num_gpus": 0, "max_retries": 2}
        return lambda function: SimpleNamespace(remote=lambda *arguments: (function, arguments))

    def wait(self, pending: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        self.asked += 1
        return (pending[:1], pending[1:]) if self.starts else ([], pending)

    def get(self, reference: Any) -> Any:
        function, arguments = reference
        return function(*arguments)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for name in ("remote", "wait", "get"):
        monkeypatch.setattr(ray, name, getattr(made, name))
    return made


def test_tasks_come_back_one_by_one(cluster: Cluster) -> None:
    assert list(health.tasks(divmod, [(7, 2), (9, 4)], Resources(), lambda: False, 10.0)) == [(3, 1), (2, 1)]


def test_an_interruption_is_answered_between_tasks(cluster: Cluster) -> None:
    found: list[Any] = []
    for one in health.tasks(divmod, [(7, 2), (9, 4), (1, 1)], Resources(), lambda: len(found) == 2, 10.0):
        found.append(one)
    assert found == [(3, 1), (2, 1)]


def test_tasks_that_no_worker_takes_are_not_waited_for_for_ever(cluster: Cluster) -> None:
    cluster.starts = False
    with pytest.raises(health.Lost, match="no worker has started within 0 s"):
        list(health.tasks(divmod, [(7, 2)], Resources(), lambda: False, 0.0))


def test_a_worker_that_ray_lost_is_no_error_of_the_function_s(cluster: Cluster) -> None:
    def crash(number: int) -> int:
        raise ray.exceptions.WorkerCrashedError

    with pytest.raises(health.Lost, match="Ray lost a task"):
        list(health.tasks(crash, [(7,)], Resources(), lambda: False, 10.0))
    with pytest.raises(ZeroDivisionError):
        list(health.tasks(divmod, [(7, 0)], Resources(), lambda: False, 10.0))
