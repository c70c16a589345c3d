import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.names import NO_HOSTS, FakeNames
from tests.support.ports import closed_port, deaf_port
from tests.support.wires import server
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Reason
from trioedge.telemetry.observer import Observer
from trioedge.upstreams.connector import Attempt, Connector
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.upstreams.lookup import Absent
from trioedge.upstreams.resolver import Resolver


@attrs.define
class Waiting:
    """Notes what an attempt tells it."""

    sock: socket.socket | None = None
    error: UpstreamError | None = None
    told: trio.Event = attrs.field(factory=trio.Event)

    def connected(self, sock: socket.socket, greeted: bool) -> None:
        assert not self.told.is_set()
        self.sock = sock
        self.told.set()

    def failed(self, error: UpstreamError) -> None:
        assert not self.told.is_set()
        self.error = error
        self.told.set()


@asynccontextmanager
async def open_connector(names: FakeNames | None = None) -> AsyncIterator[tuple[Connector, Reactor]]:
    reactor = Reactor(Observer())
    resolver = Resolver(reactor, names or FakeNames(), HostsFile(NO_HOSTS))
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(resolver.run)
        yield Connector(reactor, resolver), reactor
        nursery.cancel_scope.cancel()


async def test_it_connects_and_leaves_the_socket_registered_for_its_owner() -> None:
    async with server() as port, open_connector() as (connector, reactor):
        waiting = Waiting()
        connector.start(parse_address(f"tcp://127.0.0.1:{port}"), 5.0, waiting)
        await waiting.told.wait()
        assert waiting.sock is not None
        assert waiting.sock.getpeername() == ("127.0.0.1", port)
        assert len(reactor) == 1
        reactor.forget(waiting.sock.fileno())
        waiting.sock.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"tcp://127.0.0.1:{closed_port()}", Reason.UPSTREAM_REFUSED),
        ("unix:///nonexistent/upstream.sock", Reason.UPSTREAM_UNREACHABLE),
    ],
)
async def test_a_refusal_has_its_reason_and_names_the_destination(address: str, reason: Reason) -> None:
    async with open_connector() as (connector, reactor):
        with pytest.raises(UpstreamError) as raised:
            await connector.open_stream(parse_address(address), 5.0)
        assert raised.value.reason is reason
        assert address in raised.value.detail
        assert len(reactor) == 0


async def test_no_answer_ends_at_the_limit(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with open_connector() as (connector, reactor), deaf_port() as port:
        waiting = Waiting()
        reactor.refresh()
        connector.start(parse_address(f"tcp://127.0.0.1:{port}"), 5.0, waiting)
        await trio.sleep(0.01)
        assert not waiting.told.is_set()
        mock_clock.jump(5.1)
        await waiting.told.wait()
        assert waiting.error is not None
        assert waiting.error.reason is Reason.UPSTREAM_TIMEOUT
        assert len(reactor) == 0


async def test_a_cancelled_attempt_tells_nobody_and_closes_its_socket() -> None:
    async with open_connector() as (connector, reactor), deaf_port() as port:
        waiting = Waiting()
        attempt = connector.start(parse_address(f"tcp://127.0.0.1:{port}"), 0.1, waiting)
        assert len(reactor) == 1
        attempt.cancel()
        assert len(reactor) == 0
        await trio.sleep(0.2)
        assert not waiting.told.is_set()


async def test_a_cancelled_wait_leaves_nothing_open() -> None:
    async with open_connector() as (connector, reactor), deaf_port() as port:
        with trio.move_on_after(0.05) as scope:
            await connector.open_stream(parse_address(f"tcp://127.0.0.1:{port}"), 5.0)
        assert scope.cancelled_caught
        assert len(reactor) == 0


async def test_a_stream_is_had_or_nothing_is_open_wherever_a_cancel_comes() -> None:
    had: list[bool] = []

    async def live() -> None:
        async with server() as port, open_connector(FakeNames(redis=["127.0.0.1"])) as (connector, _):
            stream = await connector.open_stream(Address("tcp", "redis.test", port), 5.0)
            had.append(True)
            await trio.aclose_forcefully(stream)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    cancels = await cancel_at_every_step(live, check)
    assert 5 < len(had) < cancels


async def test_a_name_is_asked_for_once_and_then_known() -> None:
    names = FakeNames(redis=["127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, _):
        for _ in range(3):
            await (await connector.open_stream(Address("tcp", "redis.test", port), 5.0)).aclose()
    assert names.asked == ["redis.test"]


async def test_the_second_address_is_tried_when_the_first_refuses() -> None:
    names = FakeNames(redis=["127.0.0.77", "127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, reactor):
        connection = await connector.open_stream(Address("tcp", "redis.test", port), 5.0)
        await connection.aclose()
        assert len(reactor) == 0


async def test_a_name_without_an_address_ends_with_its_own_reason() -> None:
    async with open_connector(FakeNames(nobody=Absent("Name not known", 30.0))) as (connector, _):
        with pytest.raises(UpstreamError, match="Name not known") as raised:
            await connector.open_stream(Address("tcp", "nobody.test", 1), 5.0)
        assert raised.value.reason is Reason.UPSTREAM_UNRESOLVED


async def test_a_resolver_that_hangs_costs_the_connect_limit_at_most(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    async with open_connector(FakeNames(slow=None)) as (connector, reactor):
        waiting = Waiting()
        reactor.refresh()
        connector.start(Address("tcp", "slow.test", 1), 2.0, waiting)
        await trio.sleep(0.01)
        mock_clock.jump(2.1)
        await waiting.told.wait()
        assert waiting.error is not None
        assert waiting.error.reason is Reason.UPSTREAM_TIMEOUT


async def test_a_stale_answer_serves_while_a_new_one_is_fetched(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1
    names = FakeNames(redis=["127.0.0.1"])
    async with server() as port, open_connector(names) as (connector, _):
        where = Address("tcp", "redis.test", port)
        await (await connector.open_stream(where, 5.0)).aclose()
        mock_clock.jump(60)
        names.answers["redis"] = None
        await (await connector.open_stream(where, 5.0)).aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert names.asked == ["redis.test", "redis.test"]


async def test_the_first_of_two_slow_addresses_does_not_hold_up_the_second() -> None:
    async with server() as port, deaf_port() as deaf, open_connector() as (_, reactor):
        waiting = Waiting()
        reactor.refresh()
        began = trio.current_time()
        race = Attempt(reactor, "race", reactor.now + 5.0, waiting)
        race.resolved([(socket.AF_INET, ("127.0.0.1", deaf)), (socket.AF_INET, ("127.0.0.1", port))])
        await waiting.told.wait()
        assert waiting.sock is not None
        assert waiting.sock.getpeername()[1] == port
        assert 0.25 <= trio.current_time() - began < 2
        assert len(reactor) == 1
        reactor.forget(waiting.sock.fileno())
        waiting.sock.close()
