from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vaetune.errors import UserError
from vaetune.study import submit as jobs


@dataclass
class Jobs:
    """A cluster's job server, as far as the client is concerned; the job ends when it has said its lines."""

    lines: tuple[str, ...] = ("training\n", "done\n")
    status: str = "SUCCEEDED"
    code: int | None = 0
    interrupted: bool = False
    submitted: dict[str, Any] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)

    def submit_job(self, **job: Any) -> str:
        self.submitted = job
        return "job-1"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for line in self.lines:
            yield line
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def get_job_info(self, job: str) -> Any:
        return SimpleNamespace(status=SimpleNamespace(value=self.status), driver_exit_code=self.code, message="lost")

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Jobs:
    server = Jobs()
    monkeypatch.setattr(jobs, "_client", lambda address: server)
    monkeypatch.chdir(tmp_path)
    return server


def send(path: str = "studies/s.py", storage: str = "s3://b/runs", answer: str = "d") -> int:
    return jobs.submit("http://x", ["--seed", "1"], Path.cwd() / path, storage, lambda question: answer)


def test_the_current_folder_travels_without_data(server: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    assert send() == 0
    assert server.submitted["entrypoint"] == "python -m vaetune.study studies/s.py --seed 1 --address auto"
    environment = server.submitted["runtime_env"]
    assert environment["working_dir"] == str(Path.cwd())
    assert {".git", ".venv", "/runs", "/data"} <= set(environment["excludes"])
    assert "training\ndone\n" in capsys.readouterr().out


def test_the_exit_code_is_the_job_s(server: Jobs) -> None:
    server.status, server.code = "FAILED", 2
    assert send() == 2
    server.code = None
    assert send() == 1


def test_results_must_outlive_the_head(server: Jobs) -> None:
    with pytest.raises(UserError, match="--storage s3://BUCKET/runs"):
        send(storage="runs")
    assert not server.submitted


def test_a_study_outside_the_folder_is_refused(server: Jobs) -> None:
    with pytest.raises(UserError, match="outside"):
        send("../elsewhere.py")
    assert not server.submitted


def test_an_interruption_asks_and_detaches_by_default(server: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    server.interrupted = True
    assert send(answer="") == 0
    assert not server.stopped
    assert "ray job stop --address http://x job-1" in capsys.readouterr().out


def test_an_interruption_can_stop_the_study(server: Jobs) -> None:
    server.interrupted, server.status, server.code = True, "STOPPED", None
    assert send(answer="s") == 1
    assert server.stopped == ["job-1"]
