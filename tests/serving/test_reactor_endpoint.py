"""Endpoints of a user's own that carry plain sockets in the reactor: each answer of `begin`, and each fault in it."""

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.open_files import open_files
from tests.support.reactors import deadlines_of
from tests.support.wires import connect, echo, receive_all, receive_exactly, server, serving, tcp_pair
from trioedge.loop.reactor import Reactor, Ready
from trioedge.relay.socket_relay import Ended, Relay

Begin = Callable[[te.EdgeContext, te.Session, socket.socket, Ended], Any]


@attrs.frozen
class Carrying:
    """An endpoint whose `begin` is the test's."""

    function: Begin
    relays = True

    def open(self, context: te.EdgeContext) -> "Live":
        return Live(self.function, context)


class Live:
    def __init__(self, function: Begin, context: te.EdgeContext) -> None:
        self._function, self._context = function, context

    def begin(self, session: te.Session, down: socket.socket, prefetched: bytes, ended: Ended) -> Any:
        assert prefetched == b""
        return self._function(self._context, session, down, ended)

    async def handle(self, session: te.Session) -> te.Outcome:
        await session.stream.send_all(b"in a task")
        await session.stream.send_eof()
        return te.Completed()


@asynccontextmanager
async def carrying(begin: Begin, **arguments: Any) -> AsyncIterator[tuple[te.Edge, int, list[str]]]:
    """Serve an edge with this `begin`; gives the edge, its port, and the events of level error."""
    edge = te.Edge("tcp://127.0.0.1:0", [], Carrying(begin), **arguments)
    errors: list[str] = []
    with capture_logs() as logs:
        async with serving(edge) as port:
            yield edge, port, errors
            errors += [entry["event"] for entry in logs if entry["log_level"] == "error"]


async def is_reset(port: int) -> bool:
    async with await connect(port) as client:
        try:
            return await receive_all(client) != b""
        except trio.BrokenResourceError:
            return True


async def test_a_session_that_begin_carries_has_no_task() -> None:
    async with server(echo) as upstream_port:

        def begin(context: te.EdgeContext, session: te.Session, down: socket.socket, ended: Ended) -> bool:
            up = socket.create_connection(("127.0.0.1", upstream_port))
            up.setblocking(False)
            session.carrier = relay = Relay(session, context.reactor, down, up, ended)
            relay.start(registered=False)
            return True

        async with carrying(begin) as (edge, port, _), await connect(port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            assert (session.scope, session.phase, session.service.up.bytes) == (None, "relaying", 4)
            assert edge.evict(session=session) == 1


async def test_a_session_for_which_begin_returns_false_gets_a_task() -> None:
    async with carrying(lambda *_: False) as (_, port, _), await connect(port) as client:
        assert await receive_all(client) == b"in a task"


@pytest.mark.parametrize("refuse", ["reset", "close"])
async def test_a_session_that_begin_rejects_is_closed_as_the_edge_was_told(refuse: str) -> None:
    async with carrying(lambda *_: te.Reject(te.Reason.SERVICE, "nowhere"), refuse=refuse) as (edge, port, _):
        assert await is_reset(port) is (refuse == "reset")
        assert edge.statistics().refused == {te.Reason.SERVICE: 1}
        assert len(edge.sessions) == 0


@pytest.mark.parametrize("result", [None, "yes", 1, te.CONTINUE])
async def test_a_begin_that_returns_something_else_is_a_fault_of_that_session(result: object) -> None:
    async with carrying(lambda *_: result) as (edge, port, _):
        assert await is_reset(port)
        assert edge.statistics().ended == {te.Reason.FAULT: 1}
        (session,) = edge._run.sessions.recent  # type: ignore[union-attr]
        assert "it must return True, False or a Reject" in session.outcome.detail  # type: ignore[union-attr]


async def test_a_begin_that_raises_ends_that_session_only() -> None:
    def begin(*_: object) -> bool:
        raise LookupError("no way")

    async with carrying(begin) as (edge, port, errors):
        for _ in range(2):
            assert await is_reset(port)
        assert edge.statistics().ended == {te.Reason.FAULT: 2}
        assert len(edge.sessions) == 0
    assert errors == ["endpoint failed"]


@pytest.mark.parametrize("started", [False, True])
async def test_a_begin_that_raises_after_it_made_a_relay_leaves_no_descriptor_and_no_deadline(started: bool) -> None:
    upstreams: list[socket.socket] = []
    reactors: list[Reactor] = []

    def begin(context: te.EdgeContext, session: te.Session, down: socket.socket, ended: Ended) -> bool:
        near, far = tcp_pair()
        upstreams.append(far)
        reactors.append(context.reactor)
        session.carrier = relay = Relay(session, context.reactor, down, near, ended)
        if started:
            relay.start(registered=False)
        raise LookupError("bug")

    async with carrying(begin) as (edge, port, _):
        files, deadlines = open_files(), 0
        for _ in range(3):
            assert await is_reset(port)
            upstreams.pop().close()
            assert (open_files(), deadlines_of(reactors[0]), len(edge.sessions)) == (files, deadlines, 0)
        assert edge.statistics().ended == {te.Reason.FAULT: 3}


@pytest.mark.parametrize("preconnect", [0, 1])
@pytest.mark.parametrize("with_a_task", [False, True])
async def test_a_socket_that_the_kernel_cannot_watch_costs_forward_that_session_only(
    preconnect: int, with_a_task: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at once nor when the idle limit has passed, for which this waits."""

    @te.middleware
    async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)

    add = Reactor.add_reader
    broken = False

    def add_or_fail(self: Reactor, fd: int, ready: Ready) -> None:
        if broken and type(ready).__name__ == "RelaySide":
            raise OSError(errno.ENOSPC, "no space left on device")
        add(self, fd, ready)

    monkeypatch.setattr(Reactor, "add_reader", add_or_fail)
    async with server(echo) as upstream_port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{upstream_port}", preconnect=preconnect)
        stages = [te.IdleTimeout(0.1), *([pass_on] if with_a_task else [])]
        edge = te.Edge("tcp://127.0.0.1:0", stages, endpoint)
        with capture_logs() as logs:
            async with serving(edge) as port:
                await trio.sleep(0.05)  # for the idle connection
                broken = True
                assert await is_reset(port)
                broken = False
                await trio.sleep(0.3)
                assert len(edge.sessions) == 0
                assert edge.statistics().ended == {te.Reason.FAULT: 1}
                async with await connect(port) as client:
                    await client.send_all(b"ping")
                    assert await receive_exactly(client, 4) == b"ping"
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["endpoint failed"]


async def test_a_connect_that_the_kernel_cannot_watch_fails_with_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Reactor.add

    def add_or_fail(self: Reactor, fd: int, ready: Ready) -> None:
        if type(ready).__name__ == "Attempt":
            raise OSError(errno.ENOMEM, "cannot allocate memory")
        add(self, fd, ready)

    monkeypatch.setattr(Reactor, "add", add_or_fail)
    async with server(echo) as upstream_port:
        edge = te.Edge("tcp://127.0.0.1:0", [te.IdleTimeout(0.1)], te.Forward(f"tcp://localhost:{upstream_port}"))
        with capture_logs():
            async with serving(edge) as port:
                files = open_files()
                assert await is_reset(port)
                await trio.sleep(0.2)
                assert (open_files(), len(edge.sessions)) == (files, 0)
                assert edge.statistics().ended == {te.Reason.OVERLOAD: 1}


async def test_a_session_that_is_cut_while_it_begins_ends_with_that_reason() -> None:
    def choose(session: te.Session) -> str:
        session.cut(te.Reason.EVICTED)
        return f"tcp://127.0.0.1:{upstream_port}"

    async with server(echo) as upstream_port:
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(choose))
        async with serving(edge) as port:
            assert await is_reset(port)
            assert len(edge.sessions) == 0
            assert edge.statistics().ended == {te.Reason.EVICTED: 1}
