from pathlib import Path

import pytest

from trioedge_uniproxy import machine
from trioedge_uniproxy.machine import machine_status


def test_the_load_of_this_machine_is_within_its_bounds() -> None:
    status = machine_status()
    assert 0 <= status["cpu"] <= 100
    for part in ("mem", "swap", "disk"):
        assert 0 <= status[part]["used"] <= status[part]["total"]
    assert status["mem"]["total"] > 1_000_000
    assert status["disk"]["total"] > 1_000_000


def test_memory_is_read_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:  1000 kB\nMemAvailable: 400 kB\nSwapTotal: 10 kB\nSwapFree: 10 kB\nOdd\nHugePages: x\n")
    monkeypatch.setattr(machine, "_MEMORY", table)
    status = machine_status()
    assert status["mem"] == {"total": 1_024_000, "used": 614_400}
    assert status["swap"] == {"total": 10_240, "used": 0}


def test_a_machine_without_the_table_has_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "missing")
    assert machine_status()["mem"] == {"total": 0, "used": 0}
