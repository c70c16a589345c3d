"""Sessions leave no cycles: a full pass of the collector would be long, and `settle` would keep them for good."""

import gc
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.ports import closed_port
from tests.support.wires import serving
from tests.support.wrapped import WithoutHalfClose, Wrapped

SESSIONS = 5


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@te.middleware
async def read_first(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.stream.unread(await session.stream.receive_some(100))
    return await call_next(session)


@te.middleware
async def replace(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.stream = Wrapped(session.stream)
    return await call_next(session)


@te.middleware
async def replace_by_whole(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.stream = WithoutHalfClose(session.stream)
    return await call_next(session)


@te.middleware
async def fail_behind(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await call_next(session)
    raise LookupError("a bug")


@te.middleware
async def cancel(session: te.Session, call_next: te.Handler) -> te.Outcome:
    with trio.move_on_after(0.02):
        return await call_next(session)
    return te.Completed(te.Reason.DEADLINE)


class FaultyStream(Wrapped):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise LookupError("a bug")


@te.middleware
async def replace_by_faulty(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.stream = FaultyStream(session.stream)
    return await call_next(session)


class Relaying:
    """An endpoint of a user's own."""

    relays = True

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream

    def open(self, context: te.EdgeContext) -> "LiveRelaying":
        return LiveRelaying(self.upstream, context)


class LiveRelaying:
    def __init__(self, upstream: str, context: te.EdgeContext) -> None:
        self.upstream, self.context = upstream, context

    async def handle(self, session: te.Session) -> te.Outcome:
        return await self.context.relay(session, self.upstream)


MODES: dict[str, tuple[list[object], Callable[[str], Any]]] = {
    "no task": ([], te.Forward),
    "a middleware": ([pass_on], te.Forward),
    "a middleware that reads": ([read_first], te.Forward),
    "a middleware that replaces the stream": ([replace], te.Forward),
    "a stream without half-close": ([replace_by_whole], te.Forward),
    "a middleware that fails": ([fail_behind], te.Forward),
    "a middleware that fails behind streams": ([fail_behind, replace], te.Forward),
    "a stream that fails": ([replace_by_faulty], te.Forward),
    "a deadline": ([cancel], te.Forward),
    "a deadline over streams": ([cancel, replace], te.Forward),
    "an endpoint of one's own": ([], Relaying),
    "an endpoint of one's own, over streams": ([replace], Relaying),
}


async def live(edge: te.Edge, port: int, upstream: socket.socket, how: str) -> None:
    """Have one session, from accept to its end."""
    client = socket.create_connection(("127.0.0.1", port))
    client.send(b"question")
    await trio.sleep(0.002)
    server: socket.socket | None = None
    try:
        with trio.move_on_after(0.2):
            while server is None:
                try:
                    server = upstream.accept()[0]
                except BlockingIOError:
                    await trio.sleep(0.001)
            with suppress(OSError):  # of a session that is over already
                server.send(b"answer")
            await trio.sleep(0.005)
            if how == "evicted":
                edge.evict(source="127.0.0.1")
            elif how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            elif how == "reset by the upstream":
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                server.close()
            else:
                with suppress(OSError):  # of a session that is over already
                    client.shutdown(socket.SHUT_WR)
                    server.shutdown(socket.SHUT_WR)
            while edge.sessions:
                await trio.sleep(0.001)
    finally:
        client.close()
        if server is not None:
            server.close()


@pytest.mark.parametrize("how", ["finished", "evicted", "reset", "reset by the upstream"])
@pytest.mark.parametrize("mode", MODES)
async def test_an_ended_session_leaves_nothing_for_the_collector(mode: str, how: str) -> None:
    stages, endpoint = MODES[mode]
    with socket.create_server(("127.0.0.1", 0)) as upstream, capture_logs():
        upstream.setblocking(False)
        edge = te.Edge("tcp://127.0.0.1:0", stages, endpoint(f"tcp://127.0.0.1:{upstream.getsockname()[1]}"))
        async with serving(edge) as port:
            await live(edge, port, upstream, how)  # what is made once
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for _ in range(SESSIONS):
                    await live(edge, port, upstream, how)
                gc.collect()
                found = Counter(type(each).__name__ for each in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
            assert edge.statistics().accepted == SESSIONS + 1
    assert found == {}


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_whose_upstream_refuses_leaves_nothing_for_the_collector(mode: str) -> None:
    stages, endpoint = MODES[mode]
    edge = te.Edge("tcp://127.0.0.1:0", stages, endpoint(f"tcp://127.0.0.1:{closed_port()}"))

    async def live() -> None:
        accepted = edge.statistics().accepted
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.send(b"question")
            while edge.statistics().accepted == accepted or edge.sessions:
                await trio.sleep(0.001)

    with capture_logs():
        async with serving(edge) as port:
            await live()  # what is made once
            gc.collect()
            gc.disable()
            try:
                for _ in range(SESSIONS):
                    await live()
                found = gc.collect()
            finally:
                gc.enable()
    assert found == 0
