"""Machines for tests: each a set of namespaces with a root, a network card, an sshd and a power switch of its own.

Nothing is simulated above the kernel: `ray up` reaches them over SSH, they see neither each other's processes nor
files, and there is no route out. All of it lives in network and mount namespaces that this process has entered, and
ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GATEWAY = "172.31.0.1"
METADATA = "169.254.169.254"
ONPREM = "192.0.2.1"

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000

_BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=75% tmpfs "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root"
root=$BASE/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
for each in tmp run dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$root/$each"; done
for each in $BINDS; do mkdir -p "$root$each"; mount --rbind "$each" "$root$each"; done
until ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done
hostname "$NAME"
ip link set lo up
for each in $ADDRESSES; do ip address add "$each" dev eth0; done
ip link set eth0 up
ip route add default dev eth0
mkdir -p "$root/run/sshd" "$root/home/ubuntu/.ssh" "$root/usr/local/bin"
python=$root/usr/local/bin/${PYTHON##*/}; printf '#!/bin/sh\nexec %s "$@"\n' "$PYTHON" >"$python"; chmod 755 "$python"
ln -sf "$UV" "$root/usr/local/bin/uv"
# A user of the number 0, so that the package cache of root, from which everything is installed, can be used.
sed -i '1i ubuntu:*:0:0::/home/ubuntu:/bin/bash' "$root/etc/passwd"
printf '127.0.0.1 localhost\n%s %s\n' "$FIRST" "$NAME" >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"; : >"$root/etc/resolv.conf"
: >"$root/home/ubuntu/.bashrc"
printf '%s\n' "$KEY" >"$root/home/ubuntu/.ssh/authorized_keys"
chmod 700 "$root/home/ubuntu/.ssh"; chmod 600 "$root/home/ubuntu/.ssh/authorized_keys"
ssh-keygen -q -t ed25519 -N '' -f "$root/run/host_key"
cd "$root"; mkdir -p run/old; pivot_root . run/old; umount -l /run/old
exec /usr/sbin/sshd -D -e -f /dev/null -o UsePAM=no -o HostKey=/run/host_key -o PidFile=none \
    -o MaxStartups=100 -o MaxSessions=100 -o PasswordAuthentication=no -o "SetEnv=$ENVIRONMENT"
"""


def missing() -> str:
    """Why machines cannot be had here; "" where they can."""
    if os.geteuid() != 0:
        return "needs root, to make namespaces"
    absent = [p for p in ("/usr/sbin/sshd", "ip", "unshare", "rsync", "ssh", "pivot_root") if not shutil.which(p)]
    if absent:
        return f"needs {', '.join(absent)} (openssh-server, openssh-client, iproute2, util-linux, rsync)"
    try:
        subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        return f"cannot make namespaces: {error.stderr.decode().strip()}"
    return ""


def enter() -> None:
    """Moves this thread, and what it starts from now on, into network and mount namespaces of its own with a switch."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "tmpfs", "tmpfs", "/mnt")  # where the machines' folders are
    # No name server answers in here, and whoever asks one waits.
    Path("/mnt/hosts").write_text("127.0.0.1 localhost\n")
    for file, stands_in in (("resolv.conf", "/dev/null"), ("hosts", "/mnt/hosts")):
        _run("mount", "--bind", stands_in, f"/etc/{file}")
    _run("ip", "link", "set", "lo", "up")
    # With an address of its own: a bridge without one takes a port's, and another once that machine loses power, and
    # then every machine talks to nobody for as long as it remembers the old one.
    _run("ip", "link", "add", "switch", "address", "02:00:00:00:00:01", "type", "bridge")
    for address in (f"{GATEWAY}/16", f"{METADATA}/32", f"{ONPREM}/24"):
        _run("ip", "address", "add", address, "dev", "switch")
    _run("ip", "link", "set", "switch", "up")
    _run("ip", "route", "add", "default", "dev", "switch")  # public addresses are on the switch too


def move_home(home: Path) -> None:
    """Makes `home` this user's home for ssh too, which looks it up instead of asking the environment."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    lines = Path("/etc/passwd").read_text().splitlines()
    fields = [line.split(":") for line in lines]
    moved = [":".join([*f[:5], str(home), *f[6:]]) if f[0] == name else ":".join(f) for f in fields]
    Path("/mnt/passwd").write_text("\n".join(moved) + "\n")
    _run("mount", "--bind", "/mnt/passwd", "/etc/passwd")


class Host:
    """A machine that boots when it is made; `addresses` with prefix lengths, the first of which it calls itself by."""

    def __init__(self, name: str, addresses: Sequence[str], key: str, environment: Mapping[str, str]) -> None:
        self.name, self.address = name, addresses[0].partition("/")[0]
        base = Path("/mnt") / name
        base.mkdir()
        self._log = (base.parent / f"{name}.log").open("wb")
        python, uv = (
            Path(sys.base_prefix, "bin", "python{}.{}".format(*sys.version_info)),
            Path(sys.executable).with_name("uv"),
        )
        cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
        told = {"UV_OFFLINE": "1", "UV_LINK_MODE": "symlink", "UV_CACHE_DIR": cache, **environment}
        # What lies on another disk than the root, or in /tmp, is not in the overlay.
        needed = (cache, sys.base_prefix, str(uv.parent))
        binds = [p for p in needed if os.stat(p).st_dev != os.stat("/").st_dev or p.startswith("/tmp/")]
        settings = {
            "PATH": os.environ["PATH"],
            "BASE": str(base),
            "NAME": name,
            "ADDRESSES": " ".join(addresses),
            "FIRST": self.address,
            "KEY": key,
            "PYTHON": str(python),
            "UV": str(uv),
            "BINDS": " ".join(binds),
            "ENVIRONMENT": " ".join(f'"{name}={value}"' for name, value in told.items()),
        }
        unshare = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            [*unshare, "bash", "-c", _BOOT], env=settings, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        own = os.readlink("/proc/thread-self/ns/net")
        while os.readlink(f"/proc/{self._process.pid}/ns/net") == own:
            time.sleep(0.005)
        card = f"v{self._process.pid}"
        _run("ip", "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", str(self._process.pid))
        _run("ip", "link", "set", card, "master", "switch", "up")

    @property
    def on(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        """What its sshd has said."""
        return Path(self._log.name).read_text(errors="replace")

    def processes(self) -> list[str]:
        """The command lines of what runs on it."""
        mine = os.readlink(f"/proc/{self._process.pid}/ns/pid_for_children")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                if os.readlink(folder / "ns/pid") == mine:
                    found.append((folder / "cmdline").read_text(errors="replace").replace("\0", " "))
        return found

    def power_off(self) -> None:
        """At once, as if the plug were pulled."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
