"""How near the machine is to its limits."""

import os
from pathlib import Path

import pytest

from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from tests.support.steps import longest_step
from trioedge.admin.topics import machine
from trioedge.admin.topics.machine import counts_of, merge_machine, open_files

NETSTAT = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 4\n"


async def test_the_use_of_this_process_is_told(autojump_clock: object) -> None:
    async with admin_world(make_edge(services())) as world:
        said = await world.get("/v1/machine")
    (worker,) = said["workers"]
    assert worker["pid"] == os.getpid()
    assert 3 < said["descriptors"]["used"] < said["descriptors"]["limit"]
    assert said["memory_bytes"] > 10 * 2**20
    assert said["listen_overflows"] >= 0


def test_descriptors_are_counted_in_steps_where_the_kernel_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(201):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(os, "stat", lambda *_, **__: os.stat_result((0,) * 10))
    steps, _, count = longest_step(open_files(tmp_path))
    assert (count, steps) == (200, 3)


def test_counts_of_the_kernel_are_read_by_their_names() -> None:
    assert counts_of(NETSTAT) == {"SyncookiesSent": 1, "ListenOverflows": 22, "ListenDrops": 333}


@pytest.mark.parametrize("broken", ["", "TcpExt: A\n", "IpExt: A\nIpExt: 1\n"])
def test_a_kernel_without_counts_has_none(broken: str) -> None:
    assert counts_of(broken) == {}


async def test_a_machine_that_tells_nothing_is_told_as_such(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "NETSTAT", tmp_path / "none")
    monkeypatch.setattr(machine, "STATM", tmp_path / "none")
    async with admin_world(make_edge(services())) as world:
        said = await world.get("/v1/machine")
    assert (said["listen_overflows"], said["memory_bytes"]) == (None, 0)


def test_of_several_workers_the_fullest_tables_and_the_longest_stall_count() -> None:
    def worker(used: int, stall: float | None) -> dict[str, object]:
        return {
            "descriptors": {"used": used, "limit": 100}, "memory_bytes": 5, "loop_stall_ms": stall,
            "listen_overflows": used, "tables": [{"name": "gate", "used": used, "capacity": 10}],
        }  # fmt: skip

    said = merge_machine(answers(worker(3, None), worker(7, 2.5), None), {})
    assert (said["descriptors"], said["memory_bytes"], said["loop_stall_ms"]) == ({"used": 7, "limit": 100}, 10, 2.5)
    assert (said["tables"], said["listen_overflows"]) == ([{"name": "gate", "used": 7, "capacity": 10}], 7)
    assert [each["number"] for each in said["workers"]] == [0, 1]
