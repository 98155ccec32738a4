"""The machine in front of the person: a home of its own, Ray's command line, a clock that tells what took how long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


DASHBOARD = "http://127.0.0.1:8265"


def status(path: str, token: str = "", url: str = DASHBOARD) -> int:
    """HTTP's, 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def study(*arguments: str) -> tuple[str, ...]:
    """The command that runs one, untracked."""
    return (sys.executable, "-m", "vaetune.study", *arguments, "--tracking-uri", "none")


class Laptop:
    """Commands run in the repository's root, with nothing of this machine's environment but the PATH."""

    def __init__(self, folder: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.home, self.say = folder / "home", say
        for below in ("tmp", ".ray", ".aws", ".ssh"):
            (self.home / below).mkdir(parents=True, mode=0o700)
        self.write(".ray/auth_token", "0123456789abcdef" * 4)
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),  # where `ray up` keeps what it found out about a cluster
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_UP_enable_autoscaler_v2": "1",
            **environment,
        }
        self._running: list[subprocess.Popen[str]] = []
        self.began = time.monotonic()
        self.steps: dict[str, float] = {}

    def write(self, path: str, text: str) -> Path:
        """A file in the home that nobody else reads."""
        file = self.home / path
        file.touch(0o600)
        file.write_text(text)
        return file

    def run(self, *command: str, ok: bool = True, timeout: float = 240, **environment: str) -> str:
        """What the command says; it must succeed, or fail where `ok` is False."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert (done.returncode == 0) == ok, f"{' '.join(command)}: {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def start(self, *command: str, log: str, typed: bool = False, **environment: str) -> subprocess.Popen[str]:
        """Begins a command whose output goes into the file `log` of the home; it may be `typed` to."""
        with (self.home / log).open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, **environment},
                stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        self._running.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.home / name).read_text(errors="replace")

    def wait(self, step: str, what: Callable[[], T], timeout: float, alive: subprocess.Popen[str] | None = None) -> T:
        """Waits until `what` is true, notes the step and returns it; `alive` must go on meanwhile."""
        deadline = time.monotonic() + timeout
        while not (found := what()):
            assert time.monotonic() < deadline, f"{step}: not in {timeout:.0f} s"
            assert alive is None or alive.poll() is None, f"{step}: {alive.args} ended with {alive.returncode}"
            time.sleep(0.2)
        self.step(step)
        return found

    def step(self, name: str) -> None:
        """Notes how long it is since the step before."""
        now = time.monotonic() - self.began
        took = now - sum(self.steps.values())
        self.steps[name] = round(took, 1)
        self.say(f"  {now:6.1f} s  {name} ({took:.1f} s)")

    def close(self) -> None:
        for process in self._running:
            if process.stdin:
                process.stdin.close()
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
