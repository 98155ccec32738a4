"""What a machine is busy with, in the names that MLflow's page shows under System metrics."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_QUERY = "utilization.gpu,memory.used,memory.total"


class Meter:
    """One machine; utilisation and traffic are those since the last `read`. Without /proc only disk and GPUs."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._nvidia = shutil.which("nvidia-smi")
        self._before = self._counters()

    def read(self) -> dict[str, float]:
        """Per cent and megabytes (10⁶ bytes) by name."""
        before, self._before = self._before, self._counters()
        disk = shutil.disk_usage("/")
        found = {"disk_usage_percentage": 100 * disk.used / disk.total, "disk_available_megabytes": disk.free / 1e6}
        if self._before:
            idle, total, received, sent = (now - then for now, then in zip(self._before, before, strict=True))
            found["cpu_utilization_percentage"] = 100 * (1 - idle / total) if total else 0.0
            found["network_receive_megabytes"] = received / 1e6
            found["network_transmit_megabytes"] = sent / 1e6
            found |= self._memory()
        return found | self._gpus()

    def _counters(self) -> tuple[int, ...]:
        """Ticks idle and in all, bytes received and sent by all interfaces; empty without /proc."""
        if not (self._proc / "stat").exists():
            return ()
        # user nice system idle iowait irq softirq steal; guest time is part of user's.
        ticks = [int(text) for text in (self._proc / "stat").read_text().splitlines()[0].split()[1:9]]
        interfaces = [line.split(":")[1].split() for line in (self._proc / "net/dev").read_text().splitlines()[2:]]
        received, sent = (sum(int(fields[column]) for fields in interfaces) for column in (0, 8))
        return ticks[3] + ticks[4], sum(ticks), received, sent

    def _memory(self) -> dict[str, float]:
        lines = (line.split() for line in (self._proc / "meminfo").read_text().splitlines())
        kib = {fields[0].rstrip(":"): int(fields[1]) for fields in lines}
        used = kib["MemTotal"] - kib["MemAvailable"]
        return {
            "system_memory_usage_megabytes": used * 1024 / 1e6,
            "system_memory_usage_percentage": 100 * used / kib["MemTotal"],
        }

    def _gpus(self) -> dict[str, float]:
        if not self._nvidia:
            return {}
        command = [self._nvidia, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
        try:
            lines = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
        except (OSError, subprocess.SubprocessError):
            return {}
        return parsed(lines)


def parsed(lines: list[str]) -> dict[str, float]:
    """The GPUs' values from nvidia-smi's lines "utilisation %, used MiB, total MiB"; unknown ones are left out."""
    found: dict[str, float] = {}
    for i, line in enumerate(lines):
        try:
            busy, used, total = (float(part) for part in line.split(","))
        except ValueError:
            continue
        found[f"gpu_{i}_utilization_percentage"] = busy
        found[f"gpu_{i}_memory_usage_megabytes"] = used * 2**20 / 1e6
        found[f"gpu_{i}_memory_usage_percentage"] = 100 * used / total
    return found
