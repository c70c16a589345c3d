"""Good endpoints pass their check, and a bad one is named with its fault."""

import socket
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from trioedge.testing import ScriptedUpstream, check_endpoint


async def echo(session: te.Session) -> te.Outcome:
    while data := await session.stream.receive_some():
        await session.stream.send_all(data)
    await session.stream.send_eof()
    return te.Completed()


async def refuses(session: te.Session) -> te.Outcome:
    return te.Reject(te.Reason.POLICY)


async def ticks(session: te.Session) -> te.Outcome:
    while True:
        await session.stream.send_all(b"tick")
        await trio.sleep(60)


class Relays:
    """A recipe that relays by the context, with a worker."""

    relays = True
    requires = ("destination",)

    def open(self, context: te.EdgeContext) -> "LiveRelays":
        return LiveRelays(context)


class LiveRelays:
    def __init__(self, context: te.EdgeContext) -> None:
        self.context = context

    async def handle(self, session: te.Session) -> te.Outcome:
        assert session.destination is not None
        return await self.context.relay(session, session.destination)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


class ConnectsByItself:
    """Copies both ways in a nursery of its own, to a connection of the edge's outbound."""

    def open(self, context: te.EdgeContext) -> "ConnectsByItself":
        self.outbound = context.outbound
        return self

    async def handle(self, session: te.Session) -> te.Outcome:
        there = await self.outbound.open_stream(Anywhere())
        async with there:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.copy, session.stream, there)
                nursery.start_soon(self.copy, there, session.stream)
        return te.Completed()

    async def copy(self, source: Any, sink: Any) -> None:
        while data := await source.receive_some():
            await sink.send_all(data)
        await sink.send_eof()


class Anywhere:
    """A target of the scripted upstream."""

    address = None
    seconds = 5.0


@pytest.mark.parametrize(
    "endpoint",
    [
        echo,
        refuses,
        ticks,
        Relays(),
        ConnectsByItself(),
        te.Forward("tcp://192.0.2.9:1"),
        te.Forward(lambda _: "tcp://192.0.2.9:1"),
        te.Forward(lambda _: te.Reject(te.Reason.POLICY)),
        te.Forward(),
    ],
    ids=lambda endpoint: getattr(endpoint, "__name__", None) or repr(endpoint),
)
async def test_a_good_endpoint_passes(endpoint: object, autojump_clock: MockClock) -> None:
    await check_endpoint(endpoint, client_says=b"hello")


async def test_a_good_endpoint_passes_before_a_silent_client(autojump_clock: MockClock) -> None:
    await check_endpoint(echo)


async def test_an_endpoint_passes_whatever_its_upstream_does(autojump_clock: MockClock) -> None:
    async def hangs_up(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.receive_some(1)

    await check_endpoint(te.Forward("tcp://192.0.2.9:1"), client_says=b"hello", upstream=hangs_up)
    refused = ScriptedUpstream(refusal=te.Reason.UPSTREAM_REFUSED)
    await check_endpoint(te.Forward("tcp://192.0.2.9:1"), client_says=b"hello", upstream=refused)
    assert len(refused.asked) > 3


async def returns_none(session: te.Session) -> Any:
    await session.stream.receive_some()


async def raises(session: te.Session) -> te.Outcome:
    raise LookupError("bug")


async def never_ends(session: te.Session) -> te.Outcome:
    await trio.sleep_forever()
    raise AssertionError


async def swallows_the_cancel(session: te.Session) -> te.Outcome:
    try:
        return await echo(session)
    except trio.Cancelled:
        return te.Completed()


async def makes_an_error_of_the_cancel(session: te.Session) -> te.Outcome:
    try:
        return await echo(session)
    except trio.Cancelled:
        raise OSError("gone") from None


async def makes_an_error_of_an_early_cancel(session: te.Session) -> te.Outcome:
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled:
        raise OSError("gone") from None
    return await echo(session)


async def makes_none_of_a_fault(session: te.Session) -> Any:
    try:
        return await echo(session)
    except Exception:
        return None


SOCKETS: list[socket.socket] = []


async def leaves_a_socket_when_it_is_cancelled(session: te.Session) -> te.Outcome:
    sock = socket.socket()
    SOCKETS.append(sock)
    outcome = await echo(session)
    sock.close()
    return outcome


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        (returns_none, "returns_none returned None: return Completed(), Completed(reason) or Reject(reason)"),
        (raises, "raises raised LookupError('bug')"),
        (never_ends, "never_ends went on for an hour after its client had gone"),
        (swallows_the_cancel, "swallows_the_cancel swallowed the cancel of its session"),
        (makes_an_error_of_the_cancel, "makes_an_error_of_the_cancel made OSError('gone') of a cancel"),
        (makes_an_error_of_an_early_cancel, "makes_an_error_of_an_early_cancel made OSError('gone') of a cancel"),
        (makes_none_of_a_fault, "makes_none_of_a_fault returned None"),
        (leaves_a_socket_when_it_is_cancelled, "leaves_a_socket_when_it_is_cancelled left 3 file descriptors behind"),
    ],
)
async def test_a_bad_endpoint_is_named(endpoint: Any, fault: str, autojump_clock: MockClock) -> None:
    with capture_logs(), pytest.raises(AssertionError) as failure:
        await check_endpoint(endpoint)
    assert str(failure.value).startswith(fault)
    while SOCKETS:
        SOCKETS.pop().close()


async def test_an_endpoint_that_leaves_a_task_is_named(autojump_clock: MockClock) -> None:
    async def leaves_a_task(session: te.Session) -> te.Outcome:
        trio.lowlevel.spawn_system_task(trio.sleep, 20_000)
        return te.Completed()

    with pytest.raises(AssertionError, match=r"leaves_a_task left [0-9]+ tasks behind"):
        await check_endpoint(leaves_a_task)
    await trio.sleep(20_000)  # until those tasks have ended


async def test_what_an_endpoint_makes_once_for_all_sessions_may_stay_while_it_runs(autojump_clock: MockClock) -> None:
    class Lazy:
        def open(self, context: te.EdgeContext) -> "Lazy":
            self.busy = False
            return self

        async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
            async with trio.open_nursery() as self.nursery:
                task_status.started()
                await trio.sleep_forever()

        async def handle(self, session: te.Session) -> te.Outcome:
            if not self.busy:
                self.busy = True
                self.nursery.start_soon(trio.sleep_forever)
            return await echo(session)

    await check_endpoint(Lazy())


class OpensNothing:
    def open(self, context: te.EdgeContext) -> None: ...


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        (None, "no endpoint: say where sessions go"),
        ("tcp://a:1", "endpoint='tcp://a:1' is text: write endpoint=Forward('tcp://a:1')"),
        (te.Forward, "endpoint (Forward) is a class, not an endpoint: call it, Forward(...)"),
        (te.SessionGate(1), "endpoint (SessionGate) is a decision: move it into stages and name an endpoint behind"),
        (OpensNothing(), "endpoint (OpensNothing): open() returned None"),
    ],
)
async def test_an_object_that_is_no_endpoint_is_refused(endpoint: object, why: str, autojump_clock: MockClock) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        await check_endpoint(endpoint)
    assert str(refusal.value).startswith(why)
