"""Sessions with TLS leave no cycles for the garbage collector."""

import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.tls import TlsPeer, client_context, localhost, server_context
from tests.support.wires import connect, echo, server, serving

SESSIONS = 5


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


async def finish(peer: TlsPeer, edge: te.Edge) -> None:
    await peer.shake()
    peer.send(b"question")
    await peer.read(8)
    peer.say_end()
    await peer.read_to_end()


async def reset(peer: TlsPeer, edge: te.Edge) -> None:
    await peer.shake()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def be_evicted(peer: TlsPeer, edge: te.Edge) -> None:
    await peer.shake()
    await trio.sleep(0.01)
    edge.evict(source="127.0.0.1")


async def say_no_tls(peer: TlsPeer, edge: te.Edge) -> None:
    peer.sock.send(b"GET / HTTP/1.1\r\n\r\n")


async def leave_in_the_middle(peer: TlsPeer, edge: te.Edge) -> None:
    peer.step()


ENDS: list[Callable[[TlsPeer, te.Edge], Awaitable[None]]] = [
    finish, reset, be_evicted, say_no_tls, leave_in_the_middle,
]  # fmt: skip
TLS = te.Tls([localhost()])
CHAINS: dict[str, list[object]] = {"alone": [TLS], "middleware": [TLS, pass_on], "behind a middleware": [pass_on, TLS]}


async def live(edge: te.Edge, port: int, end: Callable[[TlsPeer, te.Edge], Awaitable[None]]) -> None:
    """Have one session, from accept to its end."""
    accepted = edge.statistics().accepted
    with socket.socket(fileno=(await connect(port)).socket.detach()) as sock:
        sock.setblocking(False)
        await end(TlsPeer(sock, client_context()), edge)
    with trio.fail_after(5):
        while edge.statistics().accepted == accepted or edge.sessions:
            await trio.sleep(0.001)


async def garbage_of(edge: te.Edge, port: int, end: Callable[[TlsPeer, te.Edge], Awaitable[None]]) -> Counter[str]:
    await live(edge, port, end)  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(SESSIONS):
            await live(edge, port, end)
        gc.collect()
        return Counter(type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("end", ENDS)
async def test_a_client_with_tls_leaves_nothing_for_the_collector(chain: str, end: Any) -> None:
    with capture_logs():
        async with server(echo) as upstream:
            edge = te.Edge("tcp://127.0.0.1:0", CHAINS[chain], te.Forward(f"tcp://127.0.0.1:{upstream}"))
            async with serving(edge) as port:
                assert await garbage_of(edge, port, end) == {}


async def plain_session(peer: TlsPeer, edge: te.Edge) -> None:
    peer.sock.send(b"question")
    with trio.move_on_after(0.1):
        await trio.lowlevel.wait_readable(peer.sock)


@pytest.mark.parametrize("context", [client_context(), None], ids=["trusted", "not trusted"])
async def test_an_upstream_with_tls_leaves_nothing_for_the_collector(context: Any) -> None:
    async def tls_echo(connection: trio.SocketStream) -> None:
        secured = trio.SSLStream(connection, server_context(), server_side=True)
        with suppress(trio.BrokenResourceError):
            await secured.send_all(await secured.receive_some())

    with capture_logs():
        async with server(tls_echo) as upstream:
            direct = te.Direct(context or True)
            edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(f"tcp://127.0.0.1:{upstream}", outbound=direct))
            async with serving(edge) as port:
                found = await garbage_of(edge, port, plain_session)
    assert not {name for name in found if name.startswith(("Tls", "Relay", "Session", "Pending", "Upstream"))}
