"""ProxyProtocol in running edges: over plain sockets, behind a middleware, and in memory."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

import trioedge as te
from tests.support.edges import is_over
from tests.support.middlewares import wrap
from tests.support.wires import connect, echo, edge_to, receive_exactly, server, serving
from trioedge.testing import open_edge
from trioedge.wire.proxy_protocol import V2_START, ProxyHeader, write_header

V1 = write_header(ProxyHeader(1, False, "192.0.2.7", 4000, "198.51.100.1", 443))
V2 = write_header(ProxyHeader(2, False, "2001:db8::7", 4000, "2001:db8::1", 443, ((2, b"a.example"),)))
LOCAL = write_header(ProxyHeader(2, True))
SOURCES = {V1: "192.0.2.7", V2: "2001:db8::7", LOCAL: "127.0.0.1"}

STAGE = te.ProxyProtocol(["127.0.0.1"])
DRIVERS = {"plain": [STAGE], "behind a middleware": [wrap, STAGE], "before a middleware": [STAGE, wrap]}
in_every_driver = pytest.mark.parametrize("stages", DRIVERS.values(), ids=DRIVERS)


@asynccontextmanager
async def edge_of(*stages: object, **changes: object) -> AsyncIterator[tuple[te.Edge, int]]:
    async with server(echo) as upstream:
        edge = edge_to(upstream, *stages, **changes)
        async with serving(edge) as port:
            yield edge, port


def pieces_of(way: str, header: bytes, behind: bytes) -> Iterable[bytes]:
    if way == "whole":
        return [header + behind]
    if way == "apart":
        return [header, behind]
    return [bytes([each]) for each in header + behind]


@in_every_driver
@pytest.mark.parametrize("way", ["whole", "apart", "byte by byte"])
@pytest.mark.parametrize("header", SOURCES, ids=["version 1", "version 2", "LOCAL"])
async def test_the_client_is_the_source_and_its_bytes_alone_go_on(
    header: bytes, way: str, stages: list[object]
) -> None:
    behind = b"PROXY UNKNOWN\r\n hello"
    async with edge_of(*stages) as (edge, port), await connect(port) as client:
        for piece in pieces_of(way, header, behind):
            await client.send_all(piece)
            await trio.lowlevel.checkpoint()
        assert await receive_exactly(client, len(behind)) == behind
        (session,) = edge.sessions
        assert (session.source, session.peer) == (SOURCES[header], "127.0.0.1")
        assert [each.id for each in edge.sessions.matching(source=SOURCES[header])] == [session.id]
        await client.send_eof()
        assert await client.receive_some() == b""
        assert (session.bytes_up, session.bytes_down) == (len(behind), len(behind))


@in_every_driver
async def test_an_upstream_that_speaks_first_is_heard_once_the_header_is_there(stages: list[object]) -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 ready")
        await connection.receive_some()

    async with server(greet) as upstream, serving(edge_to(upstream, *stages)) as port:
        async with await connect(port) as client:
            await client.send_all(V1)
            assert await receive_exactly(client, 9) == b"220 ready"


@in_every_driver
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", te.Reason.PROTOCOL),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 0443\r\n", te.Reason.PROTOCOL),
        (b"PROXY UNKNOWN ".ljust(107, b"x"), te.Reason.PROTOCOL),
        (V2_START + b"\x21\x12\0\x0c" + bytes(12), te.Reason.PROTOCOL),
        (V2_START + b"\x21\x11\xff\xff", te.Reason.PROTOCOL),
    ],
)
async def test_a_header_that_deviates_costs_its_session(data: bytes, reason: te.Reason, stages: list[object]) -> None:
    async with edge_of(*stages) as (edge, port), await connect(port) as client:
        await client.send_all(data)
        assert await is_over(client)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {reason: 1}


@in_every_driver
@pytest.mark.parametrize("data", [b"", b"PROX", V1[:-1], V2[:20]])
async def test_a_balancer_that_leaves_in_the_middle_has_not_finished(data: bytes, stages: list[object]) -> None:
    async with edge_of(*stages) as (edge, port), await connect(port) as client:
        await client.send_all(data)
        await client.send_eof()
        assert await is_over(client)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {te.Reason.HANDSHAKE: 1}


@pytest.mark.parametrize("data", [b"", b"PROX", V1[:-1], V2[:20]])
async def test_a_balancer_that_falls_silent_has_ten_seconds(
    data: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [te.ProxyProtocol(["192.0.2.1"])], te.Forward("tcp://192.0.2.9:80"))
    async with open_edge(edge) as world:
        client = await world.connect("192.0.2.1")
        began = trio.current_time()
        if data:
            await client.send(data)
        assert (await client.ended()).reason is te.Reason.HANDSHAKE
        assert 10 <= trio.current_time() - began < 10.1


async def test_an_edge_in_memory_reads_headers_too(autojump_clock: trio.testing.MockClock) -> None:
    stages = [te.ProxyProtocol(["192.0.2.1"]), te.SourceMatch(reject=["192.0.2.7"])]
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:80"))
    async with open_edge(edge) as world:
        client = await world.connect("192.0.2.1")
        await client.send(V2 + b"hello")
        assert await client.receive(5) == b"hello"
        assert client.session.source == "2001:db8::7"
        refused = await world.connect("192.0.2.1")
        await refused.send(V1 + b"hello")
        assert await refused.ended() == te.Reject(te.Reason.SOURCE, "192.0.2.7")


@in_every_driver
async def test_limits_behind_it_count_the_clients_and_not_their_balancer(stages: list[object]) -> None:
    async with edge_of(*stages, te.ConcurrencyLimit(1, per="source")) as (edge, port):
        async with await connect(port) as one, await connect(port) as other, await connect(port) as again:
            for client, header in ((one, V1), (other, V2)):
                await client.send_all(header + b"hello")
                assert await receive_exactly(client, 5) == b"hello"
            await again.send_all(V1 + b"hello")
            assert await is_over(again)
            assert len(edge.sessions) == 2
            assert edge.evict(source="192.0.2.7") == 1


async def test_a_peer_that_is_not_trusted_is_refused_without_waiting_for_its_bytes() -> None:
    async with edge_of(te.ProxyProtocol(["192.0.2.1"])) as (edge, port), await connect(port) as client:
        assert await is_over(client)
        assert edge.statistics().refused == {te.Reason.SOURCE: 1}


@pytest.mark.parametrize("before", [[], [wrap]], ids=["plain", "behind a middleware"])
async def test_a_peer_that_is_not_trusted_is_carried_with_its_header_where_others_are_plain(
    before: list[object],
) -> None:
    stage = te.ProxyProtocol(["127.0.0.2"], otherwise="plain")
    async with edge_of(*before, stage) as (edge, port), await connect(port) as client:
        await client.send_all(V1 + b"hello")
        assert await receive_exactly(client, len(V1) + 5) == V1 + b"hello"
        (session,) = edge.sessions
        assert session.source == "127.0.0.1"
        async with await connect(port, "127.0.0.2") as balancer:
            await balancer.send_all(V1 + b"hello")
            assert await receive_exactly(balancer, 5) == b"hello"


async def test_a_peer_that_is_not_trusted_hears_an_upstream_that_speaks_first_where_others_are_plain() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 ready")
        await connection.receive_some()

    stage = te.ProxyProtocol(["127.0.0.2"], otherwise="plain")
    async with server(greet) as upstream, serving(edge_to(upstream, stage)) as port:
        async with await connect(port) as client:
            assert await receive_exactly(client, 9) == b"220 ready"
