"""A PostgreSQL cluster of its own for the tracking server: made, started, backed up and stopped; see serve.py."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

DATABASES = {"mlflow": "runs and models", "mlflow_auth": "users"}
OWNER = "mlflow"
_NAMES = "SELECT datname FROM pg_database"


class Unusable(Exception):
    """What the person at the keyboard has to mend."""


class Postgres:
    """A PostgreSQL cluster of its own, reached through a socket in its folder and through nothing else.

    PostgreSQL does not run as root: there it runs as Debian's user postgres, who gets the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.socket = folder, folder / "data", folder / "socket"
        self._bin = _postgres_programs()
        self._owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the cluster if there is none, starts it, and makes the databases if they are not there."""
        for path in (self.folder, self.socket):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            if self._owner:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        if len(str(self.socket)) > 90:
            raise Unusable(f"{self.socket} is too long for a socket (90 characters): choose a shorter --data")
        if not (self.data / "PG_VERSION").exists():
            # Trust: whoever may enter the socket's folder (mode 0700) is this user or root already.
            self._run("initdb", "--pgdata", str(self.data), "--username", OWNER, "--auth=trust", "--encoding=UTF8")
        settings = ("listen_addresses=", f"unix_socket_directories={self.socket}", "unix_socket_permissions=0700")
        options = [part for setting in settings for part in ("-c", setting)]
        command = [*self._as_owner(), str(self._bin / "postgres"), "-D", str(self.data), *options]
        deadline = time.monotonic() + 60
        while True:
            if self.process is None or self.process.poll() is not None:
                # After a kill the one before may still be going; it is waited for.
                self._forget_dead()
                self.process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
            if not subprocess.call([self._bin / "pg_isready", "-q", "-h", self.socket, "-U", OWNER]):
                break
            if time.monotonic() > deadline:
                raise Unusable(f"PostgreSQL did not start; its log is above, its data in {self.data}")
            time.sleep(0.5)
        have = self._run("psql", "-h", str(self.socket), "-U", OWNER, "-Atd", "postgres", "-c", _NAMES).decode().split()
        for name in DATABASES:
            if name not in have:
                self._run("createdb", "-h", str(self.socket), "-U", OWNER, name)

    def _forget_dead(self) -> None:
        """Removes the lock of a killed server whom nobody buried: PostgreSQL takes a zombie's number for a live one."""
        lock = self.data / "postmaster.pid"
        try:
            state = Path("/proc", lock.read_text().split()[0], "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return
        if state == "Z":
            lock.unlink()

    def uri(self, database: str) -> str:
        """The address of a database, for SQLAlchemy."""
        return f"postgresql+psycopg2://{OWNER}@/{database}?host={self.socket}"

    def backup(self, to: Path) -> None:
        """A consistent dump of each database, while it is used."""
        to.mkdir(parents=True, exist_ok=True)
        for name in DATABASES:
            dump = self._run("pg_dump", "-h", str(self.socket), "-U", OWNER, "--format=custom", name)
            aside = to / f"{name}.dump.part"
            aside.write_bytes(dump)
            aside.replace(to / f"{name}.dump")

    def stop(self) -> None:
        """Ends it in order: sessions are cut, everything is written."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [*self._as_owner(), str(self._bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd="/")
        if done.returncode:
            raise Unusable(f"{program} failed: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}")
        return done.stdout

    def _as_owner(self) -> list[str]:
        if not self._owner:
            return []
        return ["setpriv", f"--reuid={self._owner.pw_uid}", f"--regid={self._owner.pw_gid}", "--init-groups"]


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    if program := shutil.which("postgres"):
        return Path(program).resolve().parent
    raise Unusable("there is no PostgreSQL: apt-get install postgresql")
