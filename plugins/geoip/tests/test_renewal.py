"""Files that change while an edge serves."""

import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trioedge as te
from tables import FRENCH, GERMAN, WriteTable, break_record, write_in_place
from trioedge.testing import open_edge
from trioedge.testing.rehearsal import Rehearsal

from trioedge_geoip import GeoIp
from trioedge_geoip.table import Table

Log: TypeAlias = list[MutableMapping[str, Any]]

FORMER = "geoip table not loaded: the former one stays"


@asynccontextmanager
async def serving(path: Path, **arguments: Any) -> AsyncIterator[Rehearsal]:
    """Serve an edge that accepts clients of Germany."""
    arguments = arguments or {"accept_countries": ["DE"]}
    edge = te.Edge("tcp://127.0.0.1:6380", [GeoIp(path, **arguments)], te.Forward("tcp://192.0.2.9:6379"))
    async with open_edge(edge) as world:
        yield world


async def until(holds: Callable[[], bool]) -> float:
    """Wait, and give the seconds of the fake clock. The clock runs on while a thread works."""
    began = trio.current_time()
    for _ in range(1_000_000):
        if holds():
            return trio.current_time() - began
        await trio.sleep(0.1)
    raise AssertionError("it did not come")


def said(log: Log, event: str) -> list[str]:
    return [line.get("error", "") for line in log if line["event"] == event]


def swapped(table: WriteTable) -> Path:
    """Rename a table in which the two countries have changed places."""
    return table({"81.2.0.0/16": {"country": {"iso_code": "FR"}}, "81.3.0.0/16": {"country": {"iso_code": "DE"}}})


def remove(path: Path) -> None:
    path.unlink()


async def test_a_new_table_is_for_new_sessions(
    countries: Path, table: WriteTable, autojump_clock: Any, log: Log
) -> None:
    async with serving(countries) as world:
        live = await world.connect(GERMAN)
        assert (await world.connect(FRENCH)).outcome is not None
        swapped(table)
        assert await until(lambda: len(said(log, "geoip table loaded")) == 2) >= 2
        assert (await world.connect(GERMAN)).outcome is not None
        assert (await world.connect(FRENCH)).outcome is None
        await live.send(b"on")
        assert await live.receive(2) == b"on"
    assert said(log, FORMER) == []


async def test_a_file_that_stays_the_same_is_not_read_again(
    countries: Path, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    made = Table.__init__

    def init(self: Table, path: Path) -> None:
        read.append(path)
        made(self, path)

    monkeypatch.setattr(Table, "__init__", init)
    async with serving(countries):
        await trio.sleep(3_600)
    assert read == [countries]


async def test_half_of_a_file_never_counts(countries: Path, table: WriteTable, autojump_clock: Any, log: Log) -> None:
    async with serving(countries) as world:
        whole = await trio.Path(swapped(table)).read_bytes()
        await until(lambda: len(said(log, "geoip table loaded")) == 2)
        write_in_place(countries, whole[: len(whole) // 2])
        await until(lambda: bool(said(log, FORMER)))
        assert said(log, FORMER) == [f"{countries} is no MaxMind DB file or not a whole one: download it again"]
        await trio.sleep(600)
        assert len(said(log, FORMER)) == 1  # once for each state of the file
        assert (await world.connect(FRENCH)).outcome is None
        write_in_place(countries, whole)
        await until(lambda: len(said(log, "geoip table loaded")) == 3)
        assert (await world.connect(FRENCH)).outcome is None


async def test_a_file_that_is_being_written_is_not_read(countries: Path, autojump_clock: Any, log: Log) -> None:
    async with serving(countries):
        for length in range(60):
            write_in_place(countries, bytes(length))
            await trio.sleep(1)
        assert said(log, FORMER) == []


async def test_a_table_stays_while_its_file_is_gone(
    countries: Path, table: WriteTable, autojump_clock: Any, log: Log
) -> None:
    async with serving(countries) as world:
        remove(countries)
        await until(lambda: bool(said(log, FORMER)))
        assert said(log, FORMER) == ["it is gone"]
        assert (await world.connect(GERMAN)).outcome is None
        assert (await world.connect(FRENCH)).outcome is not None
        swapped(table)
        await until(lambda: len(said(log, "geoip table loaded")) == 2)
        assert (await world.connect(FRENCH)).outcome is None


async def test_a_file_that_the_system_does_not_read_is_read_again_later(
    countries: Path, table: WriteTable, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.memfd_create
    left = 3

    def fail(name: str) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            return make(name)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with serving(countries) as world:
        monkeypatch.setattr(os, "memfd_create", fail)
        swapped(table)
        assert await until(lambda: len(said(log, "geoip table loaded")) == 2) >= 90
        assert said(log, FORMER) == ["Too many open files"] * 3
        assert (await world.connect(FRENCH)).outcome is None


async def test_a_table_of_another_kind_is_refused(
    countries: Path, table: WriteTable, autojump_clock: Any, log: Log
) -> None:
    async with serving(countries) as world:
        table({"81.2.0.0/16": {"autonomous_system_number": 3320}}, kind="Test-ASN")
        await until(lambda: bool(said(log, FORMER)))
        assert said(log, FORMER) == ["the new one (Test-ASN) has no countries"]
        assert (await world.connect(GERMAN)).outcome is None


async def test_each_of_two_files_is_renewed(
    countries: Path, networks: Path, table: WriteTable, autojump_clock: Any, log: Log
) -> None:
    async with serving(countries, asn_path=networks, reject_countries=["FR"], reject_as_numbers=[3320]) as world:
        assert (await world.connect(GERMAN)).outcome == te.Reject(te.Reason.SOURCE, "AS3320")
        table({"81.3.0.0/16": {"autonomous_system_number": 3320}}, "networks.mmdb", "Test-ASN")
        await until(lambda: len(said(log, "geoip table loaded")) == 3)
        assert (await world.connect(GERMAN)).outcome is None
        swapped(table)
        await until(lambda: len(said(log, "geoip table loaded")) == 4)
        assert (await world.connect(GERMAN)).outcome == te.Reject(te.Reason.SOURCE, "country FR")
    loaded = [line["path"] for line in log if line["event"] == "geoip table loaded"]
    assert loaded == [str(path) for path in (countries, networks, networks, countries)]


async def test_broken_records_are_logged(
    countries: Path, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge_geoip.table.SAMPLE", 1)
    break_record(countries)
    async with serving(countries) as world:
        assert (await world.connect(FRENCH)).outcome is not None
        await trio.sleep(600)
        assert (await world.connect(GERMAN)).outcome is None
    broken = [line for line in log if line["event"] == "geoip table is broken: download it again"]
    assert [line["records"] for line in broken] == [1]


async def test_an_edge_that_is_cancelled_while_a_file_is_read_ends_at_once(
    countries: Path, table: WriteTable, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hang(self: Table, _: Path) -> None:
        token.run_sync_soon(reading.set)
        go_on.wait(10)

    async with serving(countries):
        monkeypatch.setattr(Table, "__init__", hang)
        swapped(table)
        await reading.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 5  # as a file system that hangs must not delay the end
    go_on.set()
    assert len(said(log, "geoip table loaded")) == 1
