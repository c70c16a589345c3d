"""Quotas over real sockets: several downloads and uploads at once, cut by no more than 64 KiB a session too late."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.middlewares import wrap
from tests.support.tls import client_context, localhost
from tests.support.wires import connect, server, serving

SESSIONS = 8
QUOTA = 3_000_003
CHUNK = 65_536
PIECE = b"x" * CHUNK


async def flood(connection: trio.abc.SendStream) -> None:
    """Send for ever, as a download without an end."""
    with suppress(trio.BrokenResourceError):
        while True:
            await connection.send_all(PIECE)


async def wait_and_flood(connection: trio.SocketStream) -> None:
    """Send once all clients are there, which they say, because the kernel alone takes a quota."""
    await connection.receive_some(1)
    await flood(connection)


async def ask_and_take(connection: trio.SocketStream) -> None:
    await connection.send_all(b"f")
    await take(connection)


async def flood_and_take(connection: trio.SocketStream) -> None:
    await connection.send_all(b"f")
    await connection.receive_some(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, connection)
        await take(connection)
        nursery.cancel_scope.cancel()


async def take(connection: trio.abc.ReceiveStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await connection.receive_some(CHUNK):
            pass


async def flood_of_http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with one body that is far larger than a send to a socket may be."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": PIECE * 100, "more_body": True})


class RelayItself:
    """An endpoint of a user's own, which connects and has the edge relay."""

    relays = True

    def __init__(self, port: int) -> None:
        self.port = port

    def open(self, context: te.EdgeContext) -> "RelayItself":
        self.context = context
        return self

    async def handle(self, session: te.Session) -> te.Outcome:
        return await self.context.relay(session, f"tcp://127.0.0.1:{self.port}")


def terminated() -> te.Tls:
    return te.Tls([localhost()])


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


Case = tuple[Callable[[], list[object]], bool]
CASES: dict[str, Case] = {
    "in the reactor": (list, False),
    "in the reactor, with TLS": (lambda: [terminated()], True),
    "behind a middleware that lets the socket be": (lambda: [pass_on], False),
    "over streams": (lambda: [wrap], False),
    "over streams, with TLS": (lambda: [terminated(), wrap], True),
}


async def client_of(port: int, tls: bool) -> Any:
    stream: Any = await connect(port)
    if tls:
        stream = trio.SSLStream(stream, client_context(), server_hostname="localhost")
        await stream.do_handshake()
    return stream


async def use_up(edge: te.Edge, works: list[Callable[[], Any]]) -> None:
    """Have every client work until it is cut, and check what the service has moved."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)
        while edge.sessions:
            await trio.sleep(0.001)
    service = edge.services["shop"]
    assert QUOTA <= service.quota_used <= QUOTA + SESSIONS * CHUNK
    assert service.quota_used == service.up.bytes + service.down.bytes
    assert edge.statistics().ended == {te.Reason.QUOTA: SESSIONS}


def edge_for(stages: list[object], endpoint: object) -> te.Edge:
    control = te.MemoryControl({"shop": te.Policy(quota_bytes=QUOTA)})
    return te.Edge("tcp://127.0.0.1:0", [*stages, te.Identify("shop")], endpoint, control=control)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("way", ["down", "up", "both ways"])
async def test_sessions_are_cut_within_64_kib_each_once_their_quota_is_used_up(case: Case, way: str) -> None:
    stages, tls = case
    script = {"down": wait_and_flood, "up": take, "both ways": flood_and_take}[way]
    async with server(script) as upstream:
        edge = edge_for(stages(), te.Forward(f"tcp://127.0.0.1:{upstream}"))
        async with serving(edge) as port:
            clients = [await client_of(port, tls) for _ in range(SESSIONS)]
            work = {"down": ask_and_take, "up": flood, "both ways": flood_and_take}[way]
            await use_up(edge, [partial(work, client) for client in clients])
            refused = await connect(port)
            with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                await _first_byte(refused)
            for client in (*clients, refused):
                await trio.aclose_forcefully(client)


async def _first_byte(connection: trio.SocketStream) -> None:
    await connection.send_all(b"hello")
    if not await connection.receive_some():
        raise trio.EndOfChannel


async def test_an_endpoint_that_has_the_edge_relay_is_cut_in_the_same_way() -> None:
    async with server(wait_and_flood) as upstream:
        edge = edge_for([], RelayItself(upstream))
        async with serving(edge) as port:
            clients = [await connect(port) for _ in range(SESSIONS)]
            await use_up(edge, [partial(ask_and_take, client) for client in clients])
            for client in clients:
                await client.aclose()


async def request_and_take(client: trio.SocketStream) -> None:
    await client.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await take(client)


async def test_an_application_is_cut_in_the_same_way_however_much_it_sends_at_once() -> None:
    edge = edge_for([], te.Asgi(flood_of_http))
    async with serving(edge) as port:
        clients = [await connect(port) for _ in range(SESSIONS)]
        await use_up(edge, [partial(request_and_take, client) for client in clients])
        for client in clients:
            await client.aclose()


async def test_idle_sessions_of_the_service_are_cut_too_and_those_of_others_are_not() -> None:
    async def by_first_byte(connection: trio.SocketStream) -> None:
        if await connection.receive_some() == b"f":
            await flood(connection)
        await trio.sleep_forever()

    async with server(by_first_byte) as upstream:
        control = te.MemoryControl({"shop": te.Policy(quota_bytes=QUOTA), "blog": te.Policy()})
        edge = te.Edge(
            "tcp://127.0.0.1:0",
            [te.Identify(lambda session: "shop" if session.source == "127.0.0.1" else "blog")],
            te.Forward(f"tcp://127.0.0.1:{upstream}"),
            control=control,
        )
        async with serving(edge) as port:
            idle = [await connect(port) for _ in range(100)]
            other = await connect(port, "127.0.0.2")
            busy = await connect(port)
            await busy.send_all(b"f")
            with trio.fail_after(10):
                await take(busy)
                while len(edge.sessions) > 1:
                    await trio.sleep(0.001)
            assert edge.statistics().ended == {te.Reason.QUOTA: 101}
            assert [session.service.name for session in edge.sessions] == ["blog"]
            assert edge.services["shop"].quota_used <= QUOTA + CHUNK
            await control.put("shop", te.Policy(quota_bytes=2 * QUOTA))
            again = await connect(port)
            await again.send_all(b"f")
            assert await again.receive_some(), "a raised quota admits at once"
            for client in (*idle, other, busy, again):
                await client.aclose()


@te.handshake(provides=("service",), seconds=60)
def name_and_wait(session: te.Session) -> te.Steps:
    session.service = "shop"
    yield te.ReadUntil(b"\n")
    return te.CONTINUE


@te.handshake(provides=("service",), seconds=60)
def name_and_ask(session: te.Session) -> te.Steps:
    session.service = "shop"
    yield te.Background(trio.sleep, 60)
    return te.CONTINUE


@pytest.mark.parametrize("handshake", [name_and_wait, name_and_ask])
async def test_clients_in_a_handshake_are_cut_too(handshake: object) -> None:
    async with server() as upstream:
        control = te.MemoryControl({"shop": te.Policy(quota_bytes=QUOTA)})
        edge = te.Edge("tcp://127.0.0.1:0", [handshake], te.Forward(f"tcp://127.0.0.1:{upstream}"), control=control)
        async with serving(edge) as port:
            clients = [await connect(port) for _ in range(SESSIONS)]
            with trio.fail_after(10):
                while [session.service.name for session in edge.sessions] != ["shop"] * SESSIONS:
                    await trio.sleep(0.001)
                edge.services["shop"].down.add(QUOTA)
                for client in clients:
                    await take(client)
                    await client.aclose()
            assert edge.statistics().ended == {te.Reason.QUOTA: SESSIONS}
