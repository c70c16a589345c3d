"""Forward with Direct(proxy_protocol=…): the upstream gets a header first, whatever way it is connected."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import attrs
import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.edges import is_over
from tests.support.middlewares import read_ahead, wrap
from tests.support.wires import connect, receive_all, receive_exactly, server, serving
from trioedge.edge import admit, rehearse
from trioedge.upstreams import introduction
from trioedge.upstreams import upstream as upstreams
from trioedge.wire.proxy_protocol import V2_START, ProxyHeader, parse_v1, parse_v2

VERSIONS: Final[dict[Literal[1, 2], Literal["v1", "v2"]]] = {1: "v1", 2: "v2"}


@attrs.define
class Told:
    """An upstream that reads a header and sends the rest back.

    Attributes:
        port: where it listens.
        headers: those that it has read.
        accepted: how many connections it has accepted.
    """

    port: int = 0
    headers: list[ProxyHeader] = attrs.field(factory=list)
    accepted: int = 0

    async def serve(self, connection: trio.SocketStream) -> None:
        self.accepted += 1
        first = await receive_exactly(connection, len(V2_START))
        if first == V2_START:
            first += await receive_exactly(connection, 4)
            self.headers.append(parse_v2(first + await receive_exactly(connection, int.from_bytes(first[14:]))))
        elif first:
            while not first.endswith(b"\r\n"):
                first += await receive_exactly(connection, 1)
            self.headers.append(parse_v1(first))
        async for data in connection:
            await connection.send_all(data)
        await connection.send_eof()


@asynccontextmanager
async def told() -> AsyncIterator[Told]:
    upstream = Told()
    async with server(upstream.serve) as upstream.port:
        yield upstream


def edge_to(port: int, version: Literal[1, 2], *stages: object, preconnect: int = 0) -> te.Edge:
    outbound = te.Direct(proxy_protocol=VERSIONS[version])
    endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=outbound, preconnect=preconnect)
    return te.Edge("tcp://127.0.0.1:0", list(stages), endpoint)


async def exchange(edge: te.Edge, upstream: Told, version: Literal[1, 2], *, idle: int = 0) -> None:
    """Have a client send bytes and read them back: the upstream is told first, and the header is not counted."""
    async with serving(edge) as edge_port:
        with trio.fail_after(5):
            while upstream.accepted < idle:
                await trio.sleep(0.001)
        assert upstream.headers == []
        async with await connect(edge_port) as client:
            port = client.socket.getsockname()[1]
            await client.send_all(b"hello")
            assert await receive_exactly(client, 5) == b"hello"
            (session,) = edge.sessions
            await client.send_eof()
            assert await client.receive_some() == b""
    assert upstream.headers == [ProxyHeader(version, False, "127.0.0.1", port, "127.0.0.1", edge_port)]
    assert (session.bytes_up, session.bytes_down, session.service.up.bytes) == (5, 5, 5)


IN_EVERY_WAY = pytest.mark.parametrize(
    "stages", [[], [read_ahead], [wrap]], ids=["without a task", "with a task", "wrapped"]
)


@pytest.mark.parametrize("version", VERSIONS)
@IN_EVERY_WAY
async def test_an_upstream_of_this_machine_is_told(version: Literal[1, 2], stages: list[object]) -> None:
    async with told() as upstream:
        await exchange(edge_to(upstream.port, version, *stages), upstream, version)


@pytest.mark.parametrize("version", VERSIONS)
@IN_EVERY_WAY
async def test_an_upstream_that_an_attempt_connects_is_told(
    version: Literal[1, 2], stages: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "own_address", lambda _: None)  # else its kernel answers at once
    async with told() as upstream:
        await exchange(edge_to(upstream.port, version, *stages), upstream, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])
async def test_an_idle_connection_is_told_when_a_session_takes_it(version: Literal[1, 2], stages: list[object]) -> None:
    async with told() as upstream:
        await exchange(edge_to(upstream.port, version, *stages, preconnect=2), upstream, version, idle=2)


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_endpoint_of_ones_own_tells_the_upstream_to_which_it_relays(version: Literal[1, 2]) -> None:
    class Relays:
        def open(self, context: te.EdgeContext) -> "Relays":
            self.relay = context.relay
            return self

        async def handle(self, session: te.Session) -> te.Outcome:
            return await self.relay(session, f"tcp://127.0.0.1:{upstream.port}")

    async with told() as upstream, trio.open_nursery() as nursery:
        edge = te.Edge("tcp://192.0.2.1:443", [], Relays())
        await nursery.start(rehearse, edge, te.Direct(proxy_protocol=VERSIONS[version]))
        client, accepted = trio.testing.memory_stream_pair()
        session = admit(edge, accepted, "192.0.2.7", port=4000)
        await client.send_all(b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert upstream.headers == [ProxyHeader(version, False, "192.0.2.7", 4000, "192.0.2.1", 443)]
        assert session.bytes_up == 5
        nursery.cancel_scope.cancel()


@IN_EVERY_WAY
async def test_an_upstream_that_speaks_first_is_told_before_its_client_says_a_word(stages: list[object]) -> None:
    async def greet(connection: trio.SocketStream) -> None:
        line = b""
        while not line.endswith(b"\r\n"):
            line += await connection.receive_some()
        await connection.send_all(b"hello " + line.split()[2])

    silent = [] if not stages else [wrap]  # a stage that reads ahead would wait for the client
    async with server(greet) as port, serving(edge_to(port, 1, *silent)) as edge_port:
        async with await connect(edge_port) as client:
            with trio.fail_after(5):
                assert await receive_all(client) == b"hello 127.0.0.1"


@IN_EVERY_WAY
async def test_an_upstream_that_resets_before_it_is_told_ends_the_session_as_any_other(stages: list[object]) -> None:
    async def reset(connection: trio.SocketStream) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.socket.close()

    async with server(reset) as port:
        edge = edge_to(port, 2, *stages)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"hello")
            assert await is_over(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.RESET: 1}


@pytest.mark.parametrize("taken", [0, 7])
async def test_a_header_that_a_socket_does_not_take_at_once_goes_first_all_the_same(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_few(sock: socket.SocketType, data: bytes) -> bytes:
        return data[sock.send(data[:taken]) if taken else 0 :]

    monkeypatch.setattr(introduction, "send_now", take_few)
    async with told() as upstream, serving(edge_to(upstream.port, 2)) as edge_port:
        async with await connect(edge_port) as client:
            port = client.socket.getsockname()[1]
            await client.send_all(b"hello")
            assert await receive_exactly(client, 5) == b"hello"
        assert upstream.headers == [ProxyHeader(2, False, "127.0.0.1", port, "127.0.0.1", edge_port)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_local_sockets_on_both_sides_are_told_as_such(version: Literal[1, 2], tmp_path: Path) -> None:
    upstream = Told()
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(str(tmp_path / "upstream.sock"))
    listener.listen()
    here = f"unix://{tmp_path}/edge.sock"
    forward = te.Forward(f"unix://{tmp_path}/upstream.sock", outbound=te.Direct(proxy_protocol=VERSIONS[version]))
    edge = te.Edge(here, [], forward)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, upstream.serve, [trio.SocketListener(listener)])
        await nursery.start(edge.serve)
        async with await trio.open_unix_socket(f"{tmp_path}/edge.sock") as client:
            await client.send_all(b"hello")
            assert await receive_exactly(client, 5) == b"hello"
        nursery.cancel_scope.cancel()
    assert upstream.headers == [ProxyHeader(1) if version == 1 else ProxyHeader(2, False, "unix", 0, here, 0)]


async def test_an_upstream_that_is_not_told_gets_the_bytes_of_its_client_alone() -> None:
    async def first(connection: trio.SocketStream) -> None:
        got.append(await connection.receive_some())
        await connection.send_eof()

    got: list[bytes] = []
    async with server(first) as port:
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(f"tcp://127.0.0.1:{port}", outbound=te.Direct()))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"hello")
            assert await receive_all(client) == b""
    assert got == [b"hello"]
