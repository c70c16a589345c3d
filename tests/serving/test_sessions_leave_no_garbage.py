"""A session of plain sockets leaves no unreachable object, however it ends: full passes of the collector are rare."""

import gc
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.ports import closed_port
from tests.support.wires import serving
from trioedge.loop.sockets import reset

SESSIONS = 20


async def accepted(upstream: socket.socket) -> socket.socket:
    upstream.setblocking(False)
    while True:
        try:
            return upstream.accept()[0]
        except BlockingIOError:
            await trio.lowlevel.checkpoint()


async def finish(edge: te.Edge, client: socket.socket, upstream: socket.socket) -> None:
    client.send(b"question")
    far = await accepted(upstream)
    client.shutdown(socket.SHUT_WR)
    far.close()


async def client_resets(edge: te.Edge, client: socket.socket, upstream: socket.socket) -> None:
    client.send(b"question")
    far = await accepted(upstream)
    reset(client)
    while len(edge.sessions):
        await trio.lowlevel.checkpoint()
    far.close()


async def upstream_resets(edge: te.Edge, client: socket.socket, upstream: socket.socket) -> None:
    far = await accepted(upstream)
    far.send(b"greeting")
    reset(far)


async def evicted(edge: te.Edge, client: socket.socket, upstream: socket.socket) -> None:
    far = await accepted(upstream)
    edge.evict(service="default")
    far.close()


async def refused_by_the_upstream(edge: te.Edge, client: socket.socket, upstream: socket.socket) -> None:
    upstream.close()


def refuse(session: te.Session) -> te.Verdict:
    return te.Reject(te.Reason.POLICY)


def fail(session: te.Session) -> te.Verdict:
    raise LookupError("bug")


def admit(session: te.Session) -> te.Verdict:
    session.state[dict] = {}
    session.defer(lambda ended: None)
    return te.CONTINUE


@pytest.mark.parametrize("end", [finish, client_resets, upstream_resets, evicted, refused_by_the_upstream])
@pytest.mark.parametrize("decide", [admit, refuse, fail])
async def test_sessions_of_sockets_leave_no_unreachable_object(
    end: Callable[[te.Edge, socket.socket, socket.socket], Awaitable[None]],
    decide: Callable[[te.Session], te.Verdict],
) -> None:
    upstream = socket.create_server(("127.0.0.1", 0))
    edge = te.Edge(
        "tcp://127.0.0.1:0",
        [te.decision(decide), te.SessionGate(rate=1e6, burst=1000), te.IdleTimeout(5)],
        te.Forward(f"tcp://127.0.0.1:{upstream.getsockname()[1]}", retries=1),
    )
    if end is refused_by_the_upstream:
        closed_port()
    async with serving(edge) as port:
        for number in range(SESSIONS + 5):
            if number == 5:  # the first ones fill memories
                gc.collect()
                gc.disable()
            client = socket.create_connection(("127.0.0.1", port))
            if decide is admit:
                await end(edge, client, upstream)
            with trio.fail_after(5):
                while edge.statistics().accepted <= number or len(edge.sessions):
                    await trio.lowlevel.checkpoint()
            client.close()
        try:
            assert gc.collect() == 0
        finally:
            gc.enable()
    upstream.close()
