"""An upstream as an object: what it has ready, what it lets go of, over real sockets; what it asks for, from a fake."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.support.ports import closed_port, deaf_port
from tests.support.wires import echo, server
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.services.context import EdgeContext
from trioedge.services.registry import Registry
from trioedge.services.services import Services
from trioedge.session.meter import Total
from trioedge.session.verdict import Reason
from trioedge.telemetry.observer import Observer
from trioedge.upstreams.connector import Attempt, ConnectCallback, Connecting
from trioedge.upstreams.direct import Direct
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Resolver
from trioedge.upstreams.upstream import Upstream


@attrs.define
class Place:
    """Where upstreams live for the length of a test."""

    context: EdgeContext
    nursery: trio.Nursery

    def upstream(self, port: int, *, preconnect: int = 0, connector: Connecting | None = None) -> Upstream:
        connector = connector or Direct().open(self.context, None)
        upstream = Upstream(parse_address(f"tcp://127.0.0.1:{port}"), connector, self.context, 5.0)
        upstream.preconnect = preconnect
        return upstream


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    """Give a place to live; afterwards neither a task nor a descriptor is left of what lived there."""
    tasks, files = living(), open_files()
    reactor = Reactor(Observer())
    services = Services(Total(), Total(), governed=False)
    context = EdgeContext(reactor, Resolver(reactor), Observer(), Direct(), services, Registry(services))
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        async with trio.open_nursery() as homes:
            yield Place(context, homes)
            homes.cancel_scope.cancel()
        assert len(reactor) == 0
        nursery.cancel_scope.cancel()
    await until(lambda: living() == tasks and open_files() == files)  # servers notice a little later


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def ready(upstream: Upstream) -> int:
    return len(upstream._pool)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.001)


class Counter:
    """A server that remembers its connections."""

    def __init__(self) -> None:
        self.connections: list[trio.SocketStream] = []
        self.live = 0

    async def __call__(self, connection: trio.SocketStream) -> None:
        self.connections.append(connection)
        self.live += 1
        try:
            await echo(connection)
        finally:
            self.live -= 1


async def test_it_has_connections_ready_before_anyone_asks_and_replaces_those_taken() -> None:
    async with server() as port, open_place() as place:
        upstream = place.upstream(port, preconnect=2)
        assert upstream.take() is None
        upstream.warm(place.nursery)
        await until(lambda: ready(upstream) == 2)
        assert repr(upstream) == f"Upstream('tcp://127.0.0.1:{port}', preconnect=2, ready=2)"
        taken = upstream.take()
        assert taken is not None
        await until(lambda: ready(upstream) == 2)
        place.context.reactor.remove(taken[0].fileno())
        taken[0].close()


async def test_without_preconnect_nothing_is_connected() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port)
        upstream.warm(place.nursery)
        await trio.sleep(0.02)
        assert upstream.take() is None
        assert counter.connections == []
        assert not place.nursery.child_tasks
        upstream.close()


async def test_more_and_fewer_are_kept_as_it_is_told_by_one_task() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port)
        for preconnect in (1, 4, 2, 0, 3):
            upstream.preconnect = preconnect
            upstream.warm(place.nursery)
            await until(lambda preconnect=preconnect: counter.live == ready(upstream) == preconnect)  # type: ignore[misc]
        assert len(place.nursery.child_tasks) == 1


async def test_connections_that_were_on_their_way_when_fewer_were_wanted_are_not_kept() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port, preconnect=5)
        upstream.warm(place.nursery)
        while not len(place.context.reactor):  # until it has begun to connect
            await trio.lowlevel.checkpoint()
        upstream.preconnect = 1
        upstream.warm(place.nursery)
        await until(lambda: len(counter.connections) == 5 and counter.live == 1)
        assert ready(upstream) == len(place.context.reactor) == 1


async def test_closed_it_lets_go_of_what_is_idle_and_not_of_what_is_in_use() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port, preconnect=3)
        upstream.warm(place.nursery)
        await until(lambda: ready(upstream) == 3)
        taken = upstream.take()
        assert taken is not None
        sock, _ = taken
        upstream.close()
        await until(lambda: ready(upstream) == 0)
        await until(lambda: counter.live == 1)
        sock.send(b"still here")
        await until(lambda: not place.nursery.child_tasks)
        await trio.sleep(0.01)
        assert sock.recv(100) == b"still here"
        place.context.reactor.remove(sock.fileno())
        sock.close()


@pytest.mark.parametrize("moment", ["its task has not begun", "connecting", "pausing", "twice"])
async def test_it_can_be_closed_at_any_moment(moment: str) -> None:
    async with deaf_port() as deaf, server() as live, open_place() as place:
        port = {"connecting": deaf, "pausing": closed_port()}.get(moment, live)
        upstream = place.upstream(port, preconnect=3)
        upstream.warm(place.nursery)
        if moment != "its task has not begun":
            await trio.sleep(0.02)
        upstream.close()
        if moment == "twice":
            upstream.close()
        await until(lambda: not place.nursery.child_tasks)
        assert ready(upstream) == len(place.context.reactor) == 0


async def test_one_that_is_made_anew_for_the_same_address_has_its_own_connections() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        before, after = place.upstream(port, preconnect=2), place.upstream(port, preconnect=2)
        before.warm(place.nursery)
        await until(lambda: ready(before) == 2)
        after.warm(place.nursery)
        before.close()
        await until(lambda: ready(after) == 2 and counter.live == 2)
        assert len(place.nursery.child_tasks) == 1


async def test_a_cancel_closes_what_is_ready_and_what_is_on_its_way() -> None:
    async with deaf_port() as deaf, server() as live, open_place() as place:
        upstreams = [place.upstream(port, preconnect=2) for port in (deaf, live)]
        for upstream in upstreams:
            upstream.warm(place.nursery)
        await until(lambda: ready(upstreams[1]) == 2)
        assert len(place.context.reactor) == 4


async def test_a_connect_of_a_stream_is_cancelled_without_a_trace() -> None:
    async with deaf_port() as deaf, open_place() as place:
        with trio.move_on_after(0.02) as scope:
            await place.upstream(deaf).open_stream()
        assert scope.cancelled_caught


async def test_an_upstream_that_refuses_says_so() -> None:
    async with open_place() as place:
        with pytest.raises(UpstreamError) as raised:
            await place.upstream(closed_port()).open_stream()
        assert raised.value.reason is Reason.UPSTREAM_REFUSED


class Asked:
    """A connector that writes down what it is asked for."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.asked: list[tuple[Any, ...]] = []

    def warm(self, address: Address, failed: Callable[[UpstreamError], object]) -> None:
        self.asked.append(("warm", str(address)))

    def start(self, address: Address, seconds: float, waiter: ConnectCallback) -> Attempt:
        self.asked.append(("start", str(address), seconds, waiter))
        return Attempt(Reactor(Observer()), address, 0.0, waiter)

    async def open_stream(self, address: Address, seconds: float) -> trio.abc.HalfCloseableStream:
        self.asked.append(("open", str(address), seconds))
        return trio.testing.memory_stream_pair()[0]


async def test_it_is_resolved_once_when_it_is_named() -> None:
    async with open_place() as place:
        asked = Asked(plain=True)
        upstream = place.upstream(1, connector=asked)
        upstream.warm(place.nursery)
        upstream.warm(place.nursery)
        assert asked.asked == [("warm", "tcp://127.0.0.1:1")]


async def test_an_outbound_of_streams_keeps_none_ready() -> None:
    async with open_place() as place:
        asked = Asked(plain=False)
        upstream = place.upstream(1, preconnect=3, connector=asked)
        upstream.warm(place.nursery)
        await trio.sleep(0.01)
        assert place.nursery.child_tasks == frozenset()
        assert upstream.take() is None
        await upstream.open_stream()
        assert asked.asked == [("warm", "tcp://127.0.0.1:1"), ("open", "tcp://127.0.0.1:1", 5.0)]
        upstream.close()
