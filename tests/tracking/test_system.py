from __future__ import annotations

from pathlib import Path

import pytest

from vaetune.tracking.system import Meter, parsed


def test_a_machine_is_read() -> None:
    read = Meter().read()
    assert 0 <= read["cpu_utilization_percentage"] <= 100
    assert 0 < read["system_memory_usage_percentage"] <= 100
    assert read["disk_available_megabytes"] > 0
    assert read["network_receive_megabytes"] >= 0


def test_utilisation_and_traffic_are_those_since_the_last_read(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n")

    def write(idle: int, busy: int, received: int) -> None:
        (tmp_path / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n")
        row = f"{received} 0 0 0 0 0 0 0 5000000 0 0 0 0 0 0 0"
        (tmp_path / "net/dev").write_text(f"Inter-| Receive\n face |bytes\n lo: {row}\n eth0:{row}\n")

    write(100, 100, 0)
    meter = Meter(tmp_path)
    write(175, 125, 1_000_000)
    read = meter.read()
    assert read["cpu_utilization_percentage"] == pytest.approx(25)
    assert read["system_memory_usage_percentage"] == pytest.approx(75)
    assert read["network_receive_megabytes"] == pytest.approx(2)
    assert read["network_transmit_megabytes"] == 0


def test_without_proc_there_is_the_disk(tmp_path: Path) -> None:
    assert set(Meter(tmp_path).read()) >= {"disk_usage_percentage", "disk_available_megabytes"}


def test_gpus_are_numbered_and_unknown_ones_left_out() -> None:
    found = parsed(["37, 1024, 4096", "[N/A], [N/A], [N/A]", "0, 0, 4096"])
    assert found["gpu_0_utilization_percentage"] == 37
    assert found["gpu_0_memory_usage_percentage"] == 25
    assert {name[:5] for name in found} == {"gpu_0", "gpu_2"}
