"""Rates as the kernel keeps them, over real sockets and in real time: a second or two a test, and 20 % are allowed."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.open_files import open_files
from tests.support.wires import connect, echo, receive_exactly, server, serving

RATE = 10_000_000.0
"""High enough that a second of it is many packets, which are of 64 KB on loopback. The kernel lets the first ten of a
connection go unpaced; the pacer takes them off again within the second that tests wait before they measure."""

PIECE = 1 << 16


def near(rate: float) -> Any:
    return pytest.approx(rate, rel=0.2)


def by_source(session: te.Session) -> str:
    return session.source


class Load:
    """Clients and an upstream that send and take as fast as they can, and count by the client's address.

    Attributes:
        down: bytes that clients got.
        up: bytes that the upstream got.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.down: Counter[str] = Counter()
        self.up: Counter[str] = Counter()

    async def upstream(self, connection: trio.SocketStream) -> None:
        """Read whose connection it is, then send and take; one that begins with 0 is answered, byte by byte."""
        (length,) = await receive_exactly(connection, 1)
        if length:
            source = (await receive_exactly(connection, length)).decode()
            await self._both(connection, self.up, source)
        else:
            await echo(connection)

    async def open(self, port: int, sources: dict[str, int]) -> None:
        """Open so many connections from each address."""
        for source, number in sources.items():
            for _ in range(number):
                self._nursery.start_soon(self._client, await connect(port, source), source)

    async def _client(self, connection: trio.SocketStream, source: str) -> None:
        try:
            async with connection:
                await connection.send_all(bytes([len(source)]) + source.encode())
                await self._both(connection, self.down, source)
        except trio.BrokenResourceError:
            pass  # the edge has stopped

    async def _both(self, connection: trio.SocketStream, count: Counter[str], source: str) -> None:
        async def send() -> None:
            while True:
                await connection.send_all(bytes(PIECE))

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while more := await connection.receive_some(1 << 18):
                    count[source] += len(more)
        except* trio.BrokenResourceError:
            pass

    async def rates(self, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
        """Measure bytes a second, down and up, by address."""
        down, up, began = Counter(self.down), Counter(self.up), trio.current_time()
        await trio.sleep(seconds)
        took = trio.current_time() - began
        return (
            {source: count / took for source, count in (self.down - down).items()},
            {source: count / took for source, count in (self.up - up).items()},
        )


@asynccontextmanager
async def open_load(
    *stages: object, control: te.MemoryControl | None = None
) -> AsyncIterator[tuple[Load, int, te.Edge]]:
    """Serve an edge before an upstream that sends and takes; every client address is a service of its own."""
    async with trio.open_nursery() as nursery:
        load = Load(nursery)
        async with server(load.upstream) as upstream_port:
            endpoint = te.Forward(f"tcp://127.0.0.1:{upstream_port}")
            edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(by_source), *stages], endpoint, control=control)
            async with serving(edge) as port:
                yield load, port, edge
                nursery.cancel_scope.cancel()


async def test_a_services_rate_is_kept_over_one_two_and_eight_sessions_both_ways() -> None:
    """All three side by side, so that it takes two seconds and not six."""
    flows = {"127.0.0.1": 1, "127.0.0.2": 2, "127.0.0.8": 8}
    async with open_load(te.Pacing(RATE, RATE)) as (load, port, edge):
        await load.open(port, flows)
        await trio.sleep(1.0)
        assert {session.pacing for session in edge.sessions} == {"kernel"}
        down, up = await load.rates(1.2)
        assert down == {source: near(RATE) for source in flows}
        assert up == {source: near(RATE) for source in flows}


async def test_a_rate_that_changes_comes_or_goes_holds_for_live_sessions() -> None:
    control = te.MemoryControl({"127.0.0.1": te.Policy(down_rate=RATE)})
    async with open_load(te.Pacing(), control=control) as (load, port, edge):
        await load.open(port, {"127.0.0.1": 3})
        for down_rate in (RATE, 4 * RATE, RATE / 2):
            await control.put("127.0.0.1", te.Policy(down_rate=down_rate, up_rate=RATE))
            await trio.sleep(0.35)
            down, up = await load.rates(0.5)
            assert (down["127.0.0.1"], up["127.0.0.1"]) == (near(down_rate), near(RATE))
        await control.put("127.0.0.1", te.Policy())
        await trio.sleep(0.2)
        assert {session.pacing for session in edge.sessions} == {""}
        down, _ = await load.rates(0.2)
        assert down["127.0.0.1"] > 5 * RATE


async def test_what_a_session_leaves_when_it_closes_the_others_have() -> None:
    async with open_load(te.Pacing(RATE)) as (load, port, edge):
        await load.open(port, {"127.0.0.1": 4})
        await trio.sleep(0.3)
        for session in list(edge.sessions)[1:]:
            session.cut(te.Reason.EVICTED)
        await trio.sleep(0.3)
        down, _ = await load.rates(0.6)
        assert down == {"127.0.0.1": near(RATE)}


async def test_a_service_at_its_byte_limit_opens_sessions_as_fast_as_an_idle_one() -> None:
    """The gate and the rates share nothing: sixty sessions of each, in turns, from connect to the first answer."""
    busy, idle = "127.0.0.2", "127.0.0.3"
    took: dict[str, list[float]] = {busy: [], idle: []}
    async with open_load(te.SessionGate(1000, burst=200), te.Pacing(RATE, RATE)) as (load, port, edge):
        await load.open(port, {busy: 4})
        await trio.sleep(0.4)
        for _ in range(60):
            for source, times in took.items():
                began = trio.current_time()
                client = await connect(port, source)
                await client.send_all(b"\0?")
                assert await receive_exactly(client, 1) == b"?"
                times.append(trio.current_time() - began)
                await client.aclose()
        down, up = await load.rates(0.6)
        assert (down[busy], up[busy]) == (near(RATE), near(RATE)), "it is at its limit all the while"
        assert edge.statistics().refused == {}
    assert median(took[busy]) < 3 * median(took[idle])


async def test_local_sockets_are_held_to_the_rate_by_a_timeline(tmp_path: Path) -> None:
    path, rate = tmp_path / "edge.sock", RATE / 10
    async with trio.open_nursery() as nursery:
        load = Load(nursery)
        async with server(load.upstream) as port:
            edge = te.Edge(f"unix://{path}", [te.Pacing(rate, rate)], te.Forward(f"tcp://127.0.0.1:{port}"))
            await nursery.start(edge.serve)
            for _ in range(2):
                nursery.start_soon(load._client, await trio.open_unix_socket(path), "unix")
            await trio.sleep(0.3)
            assert {session.pacing for session in edge.sessions} == {"timeline"}
            assert await load.rates(0.8) == ({"unix": near(rate)}, {"unix": near(rate)})
            nursery.cancel_scope.cancel()


async def test_an_edge_that_stops_at_its_limit_leaves_no_descriptor() -> None:
    files = open_files()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_load(te.Pacing(RATE, RATE)) as (load, port, _):
        await load.open(port, {"127.0.0.1": 3})
        await trio.sleep(0.15)
        assert load.down
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files
