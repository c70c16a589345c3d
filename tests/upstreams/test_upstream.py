"""An upstream: its idle connections over real sockets, and what it asks of its connector."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.open_files import open_files
from tests.support.ports import closed_port, deaf_port
from tests.support.shared_memory import make_limits
from tests.support.wires import echo, server
from trioedge.addresses.address import parse_address
from trioedge.loop.reactor import Reactor
from trioedge.services.context import EdgeContext
from trioedge.services.sharing.worker_share import WorkerShare
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_context, make_session
from trioedge.upstreams.address_filter import AddressFilter
from trioedge.upstreams.attempt import Attempt, ConnectCallback
from trioedge.upstreams.connector import Connecting, Target
from trioedge.upstreams.direct import Direct
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Resolver
from trioedge.upstreams.upstream import Upstream, own_address


@attrs.define
class Place:
    """The context and the nursery of upstreams, for the length of a test."""

    context: EdgeContext
    nursery: trio.Nursery

    def upstream(self, port: int, *, preconnect: int = 0, connector: Connecting | None = None) -> Upstream:
        connector = connector or Direct().open(self.context)
        upstream = Upstream(parse_address(f"tcp://127.0.0.1:{port}"), connector, self.context, 5.0)
        upstream.preconnect = preconnect
        return upstream


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    """Give a place for upstreams; afterwards they have left neither a task nor a descriptor."""
    tasks, files = living(), open_files()
    reactor = Reactor(EdgeLog())
    context = attrs.evolve(make_context(), reactor=reactor, resolver=Resolver(reactor))
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


def idle(upstream: Upstream) -> int:
    return 0 if upstream._pool is None else len(upstream._pool)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.001)


class Counter:
    """A server that notes its connections."""

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


async def test_idle_connections_are_made_in_advance_and_replaced_when_taken() -> None:
    async with server() as port, open_place() as place:
        upstream = place.upstream(port, preconnect=2)
        assert upstream.take() is None
        upstream.warm(place.nursery)
        await until(lambda: idle(upstream) == 2)
        assert repr(upstream) == f"Upstream('tcp://127.0.0.1:{port}', preconnect=2, ready=2)"
        taken = upstream.take()
        assert taken is not None
        await until(lambda: idle(upstream) == 2)
        place.context.reactor.remove(taken[0].fileno())
        taken[0].close()


async def test_a_worker_makes_its_part_of_the_idle_connections() -> None:
    async with server() as port, open_place() as place:
        place.context = attrs.evolve(place.context, share=WorkerShare(2, make_limits().of("web", 0, 0.0)))
        upstream = place.upstream(port, preconnect=5)
        upstream.warm(place.nursery)
        await until(lambda: idle(upstream) == 3)
        await trio.sleep(0.02)
        assert idle(upstream) == 3


async def test_without_preconnect_there_is_no_connection_and_no_task() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port)
        upstream.warm(place.nursery)
        await trio.sleep(0.02)
        assert upstream.take() is None
        assert counter.connections == []
        assert not place.nursery.child_tasks
        upstream.close()


async def test_the_number_of_idle_connections_follows_preconnect_with_one_task() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port)
        for preconnect in (1, 4, 2, 0, 3):
            upstream.preconnect = preconnect
            upstream.warm(place.nursery)
            await until(lambda preconnect=preconnect: counter.live == idle(upstream) == preconnect)  # type: ignore[misc]
        assert len(place.nursery.child_tasks) == 1


async def test_connect_attempts_that_a_lower_preconnect_makes_surplus_are_not_kept() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port, preconnect=5)
        upstream.warm(place.nursery)
        while len(place.context.reactor) < 3:  # until it has begun to connect
            await trio.lowlevel.checkpoint()
        upstream.preconnect = 1
        upstream.warm(place.nursery)
        await until(lambda: len(counter.connections) >= 3 and counter.live == 1)
        assert idle(upstream) == len(place.context.reactor) == 1


async def test_a_closed_upstream_closes_its_idle_connections_and_not_those_in_use() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        upstream = place.upstream(port, preconnect=3)
        upstream.warm(place.nursery)
        await until(lambda: idle(upstream) == 3)
        taken = upstream.take()
        assert taken is not None
        sock, _ = taken
        upstream.close()
        await until(lambda: idle(upstream) == 0)
        await until(lambda: counter.live == 1)
        sock.send(b"still here")
        await until(lambda: not place.nursery.child_tasks)
        await trio.sleep(0.01)
        assert sock.recv(100) == b"still here"
        place.context.reactor.remove(sock.fileno())
        sock.close()


@pytest.mark.parametrize("moment", ["its task has not begun", "connecting", "pausing", "twice"])
async def test_an_upstream_may_be_closed_at_any_moment(moment: str) -> None:
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
        assert idle(upstream) == len(place.context.reactor) == 0


async def test_two_upstreams_of_one_address_have_connections_of_their_own() -> None:
    counter = Counter()
    async with server(counter) as port, open_place() as place:
        before, after = place.upstream(port, preconnect=2), place.upstream(port, preconnect=2)
        before.warm(place.nursery)
        await until(lambda: idle(before) == 2)
        after.warm(place.nursery)
        before.close()
        await until(lambda: idle(after) == 2 and counter.live == 2)
        assert len(place.nursery.child_tasks) == 1


async def test_a_cancel_closes_idle_connections_and_connect_attempts() -> None:
    async with deaf_port() as deaf, server() as live, open_place() as place:
        upstreams = [place.upstream(port, preconnect=2) for port in (deaf, live)]
        for upstream in upstreams:
            upstream.warm(place.nursery)
        await until(lambda: idle(upstreams[1]) == 2)
        assert len(place.context.reactor) == 4


async def test_a_cancelled_connect_of_a_stream_leaves_nothing_open() -> None:
    async with deaf_port() as deaf, open_place() as place:
        with trio.move_on_after(0.02) as scope:
            await place.upstream(deaf).open_stream(make_session())
        assert scope.cancelled_caught


async def test_an_upstream_that_refuses_raises_with_its_reason() -> None:
    async with open_place() as place:
        with pytest.raises(UpstreamError) as raised:
            await place.upstream(closed_port()).open_stream(make_session())
        assert raised.value.reason is Reason.UPSTREAM_REFUSED


@pytest.mark.parametrize(("service", "facts"), [("shop", {"service": "shop"}), ("", {})])
async def test_a_connect_that_failed_is_logged_with_its_upstream_and_the_service(
    service: str, facts: dict[str, str]
) -> None:
    async with open_place() as place:
        with capture_logs() as logs:
            place.upstream(1).unreached(UpstreamError(Reason.UPSTREAM_REFUSED, "no"), service)
    assert logs == [
        {"event": "upstream failed", "log_level": "warning", "reason": "upstream_refused", "error": "no",
         "upstream": "tcp://127.0.0.1:1"} | facts
    ]  # fmt: skip


class Asked:
    """A connector that notes what it is asked for."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.asked: list[tuple[Any, ...]] = []

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        self.asked.append(("warm", str(target.address)))

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        self.asked.append(("start", str(target.address), target.seconds, callback))
        return Attempt(Reactor(EdgeLog()), target.address, 0.0, callback)

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        self.asked.append(("open", str(target.address), target.seconds))
        return trio.testing.memory_stream_pair()[0]


async def test_an_upstream_is_resolved_once() -> None:
    async with open_place() as place:
        asked = Asked(plain=True)
        upstream = place.upstream(1, connector=asked)
        upstream.warm(place.nursery)
        upstream.warm(place.nursery)
        assert asked.asked == [("warm", "tcp://127.0.0.1:1")]


async def test_an_outbound_that_connects_in_a_task_keeps_no_idle_connection() -> None:
    async with open_place() as place:
        asked = Asked(plain=False)
        upstream = place.upstream(1, preconnect=3, connector=asked)
        upstream.warm(place.nursery)
        await trio.sleep(0.01)
        assert place.nursery.child_tasks == frozenset()
        assert upstream.take() is None
        await upstream.open_stream(make_session())
        assert asked.asked == [("warm", "tcp://127.0.0.1:1"), ("open", "tcp://127.0.0.1:1", 5.0)]
        upstream.close()


@pytest.mark.parametrize(
    ("destination", "where"),
    [
        ("tcp://127.0.0.1:6379", (socket.AF_INET, ("127.0.0.1", 6379))),
        ("tcp://127.9.8.7:1", (socket.AF_INET, ("127.9.8.7", 1))),
        ("tcp://[::1]:6379", (socket.AF_INET6, ("::1", 6379, 0, 0))),
        ("unix:///run/redis.sock", (socket.AF_UNIX, "/run/redis.sock")),
        ("tcp://localhost:6379", None),
        ("tcp://192.0.2.1:6379", None),
        ("tcp://[2001:db8::1]:6379", None),
        ("tcp://0.0.0.0:6379", None),
    ],
)
def test_a_literal_address_of_this_machine_is_connected_to_at_once(destination: str, where: object) -> None:
    assert own_address(parse_address(destination)) == where


async def test_an_address_that_is_not_permitted_or_is_reached_by_a_way_out_is_not_connected_to_at_once() -> None:
    async with open_place() as place:
        direct = Direct().open(place.context)
        address = parse_address("tcp://127.0.0.1:6379")
        refused = AddressFilter(()).permit
        allowed = AddressFilter(("loopback",)).permit
        assert Upstream(address, direct, place.context, 5.0, refused).where is None
        assert Upstream(address, direct, place.context, 5.0, allowed).where is not None
        assert Upstream(address, OtherWay(), place.context, 5.0).where is None


@attrs.define
class OtherWay:
    """A connector of another kind, which leads anywhere."""

    plain = True

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None: ...

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        raise NotImplementedError

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError
