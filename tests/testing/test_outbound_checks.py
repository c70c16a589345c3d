"""Good outbounds pass their check, and a bad one is named with its fault."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioedge as te
from tests.support.ports import closed_port
from trioedge.addresses.address import Address
from trioedge.testing import ScriptedUpstream, check_outbound

ANYWHERE = "tcp://192.0.2.9:1"


async def until_it_hangs_up(stream: trio.abc.HalfCloseableStream) -> None:
    try:
        async with stream:
            while await stream.receive_some():
                pass
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def open_server() -> AsyncIterator[str]:
    """Accept every connection for the length of the block, and give the address."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(partial(trio.serve_listeners, until_it_hangs_up, listeners))
        yield f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# Over real sockets, under the real clock.


class GivesAStream:
    async def connect(self, address: Address) -> Any:
        return await trio.open_tcp_stream(address.host, address.port)


class GivesASocket(GivesAStream):
    async def connect(self, address: Address) -> Any:
        return (await super().connect(address)).socket


class GivesAPlainSocket:
    async def connect(self, address: Address) -> Any:
        sock = socket.socket()
        try:
            sock.connect((address.host, address.port))
            await trio.lowlevel.checkpoint()
        except BaseException:
            sock.close()
            raise
        return sock


class Resolves:
    """A recipe that looks names up as the edge does."""

    def open(self, context: te.EdgeContext) -> "Resolves":
        self.context = context
        return self

    async def connect(self, address: Address) -> Any:
        (_, there), *_ = await self.context.resolve(address)
        return await trio.open_tcp_stream(*there)  # type: ignore[misc]


@pytest.mark.parametrize(
    "outbound", [te.Direct(), GivesAStream(), GivesASocket(), GivesAPlainSocket(), Resolves()], ids=type
)
async def test_a_good_outbound_passes(outbound: object) -> None:
    async with open_server() as address:
        await check_outbound(outbound, address, refused=f"tcp://127.0.0.1:{closed_port()}")


class LeavesASocket:
    async def connect(self, address: Address) -> Any:
        sock = trio.socket.socket()
        await sock.connect((address.host, address.port))
        await trio.lowlevel.checkpoint()
        return sock


class NeverConnects:
    async def connect(self, address: Address) -> Any:
        return socket.socket()


class Datagrams:
    async def connect(self, address: Address) -> Any:
        return socket.socket(type=socket.SOCK_DGRAM)


class MakesAnErrorOfTheCancel(GivesAStream):
    async def connect(self, address: Address) -> Any:
        try:
            return await super().connect(address)
        except BaseException:  # a cancel, or a group of them
            raise OSError("gone") from None


class MakesNothingOfTheCancel(GivesAStream):
    async def connect(self, address: Address) -> Any:
        try:
            return await super().connect(address)
        except BaseException:  # a cancel, or a group of them
            return None


@pytest.mark.parametrize(
    ("outbound", "fault"),
    [
        (LeavesASocket(), "LeavesASocket left it to the garbage collector to close: unclosed <socket.socket"),
        (NeverConnects(), "NeverConnects returned a socket that is not connected"),
        (Datagrams(), "Datagrams returned a socket that is no stream"),
        (MakesAnErrorOfTheCancel(), "MakesAnErrorOfTheCancel made OSError('gone') of a cancel"),
        (MakesNothingOfTheCancel(), "MakesNothingOfTheCancel returned None: it must be a connected socket or a"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_bad_outbound_is_named(outbound: object, fault: str) -> None:
    async with open_server() as address:
        with pytest.raises(AssertionError) as failure:
            await check_outbound(outbound, address)
    assert str(failure.value).startswith(fault)


# In memory, under a fake clock.


class InMemory:
    """A recipe with a worker that has the other ends."""

    def open(self, context: te.EdgeContext) -> "InMemory":
        return self

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self.nursery:
            task_status.started()
            await trio.sleep_forever()

    async def connect(self, address: Address) -> Any:
        if address.port == 9:
            raise te.UpstreamError(te.Reason.UPSTREAM_REFUSED, "closed")
        await trio.sleep(1)
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(until_it_hangs_up, theirs)
        return ours


async def test_a_good_outbound_in_memory_passes(autojump_clock: MockClock) -> None:
    await check_outbound(InMemory(), "tcp://192.0.2.9:1", refused="tcp://192.0.2.9:9")
    await check_outbound(ScriptedUpstream(until_it_hangs_up), ANYWHERE)


class Returns:
    def __init__(self, make: Any) -> None:
        self.make = make

    async def connect(self, address: Address) -> Any:
        await trio.lowlevel.checkpoint()
        return self.make()


def fail() -> object:
    raise LookupError("bug")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: None, "Returns returned None: it must be a connected socket or a stream"),
        (lambda: "tcp://a:1", "Returns returned 'tcp://a:1': it must be a connected socket or a stream"),
        (fail, "Returns raised LookupError('bug') for tcp://192.0.2.9:1, which accepts"),
    ],
)
async def test_an_outbound_that_gives_no_connection_is_named(make: Any, fault: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError) as failure:
        await check_outbound(Returns(make), ANYWHERE)
    assert str(failure.value) == fault


async def test_an_outbound_that_leaves_a_task_is_named(autojump_clock: MockClock) -> None:
    def spawn() -> object:
        trio.lowlevel.spawn_system_task(trio.sleep, 20_000)
        return trio.testing.memory_stream_pair()[0]

    with pytest.raises(AssertionError, match=r"Returns left [0-9]+ tasks behind"):
        await check_outbound(Returns(spawn), ANYWHERE)
    await trio.sleep(20_000)  # until those tasks have ended


class RefusesWith(Returns):
    async def connect(self, address: Address) -> Any:
        await trio.lowlevel.checkpoint()
        return self.make() if address.port == 9 else trio.testing.memory_stream_pair()[0]


def give_a_stream() -> object:
    return trio.testing.memory_stream_pair()[0]


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (fail, "RefusesWith raised LookupError('bug') where there is no connection: raise UpstreamError or OSError"),
        (give_a_stream, "RefusesWith gave a connection to tcp://192.0.2.9:9, which refuses: raise UpstreamError"),
        (lambda: None, "RefusesWith returned None: it must be a connected socket or a stream"),
    ],
)
async def test_an_outbound_must_raise_where_there_is_no_connection(
    make: Any, fault: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(AssertionError) as failure:
        await check_outbound(RefusesWith(make), ANYWHERE, refused="tcp://192.0.2.9:9")
    assert str(failure.value) == fault


@pytest.mark.parametrize(
    ("outbound", "address", "why"),
    [
        (5, ANYWHERE, "check_outbound: outbound = 5 is no outbound: it needs async connect(address)"),
        (InMemory, ANYWHERE, "check_outbound: outbound is a class, not an outbound: call it, InMemory(...)"),
        (InMemory(), "192.0.2.9:1", "address '192.0.2.9:1' must begin with tcp:// or unix://"),
    ],
)
async def test_an_object_that_is_no_outbound_is_refused(
    outbound: object, address: str, why: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        await check_outbound(outbound, address)
    assert str(refusal.value).startswith(why)


async def test_a_recipe_that_opens_no_outbound_is_refused(autojump_clock: MockClock) -> None:
    class OpensNothing:
        def open(self, context: te.EdgeContext) -> None: ...

    with pytest.raises(te.ConfigurationError, match=r"open\(\) returned None: it needs async connect\(address\)"):
        await check_outbound(OpensNothing(), ANYWHERE)
