"""When a pool connects and when it closes: on a clock that the test moves, with connections that the test makes."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.attempts import open_connector
from tests.support.connectors import HeldConnector
from tests.support.names import FakeNames
from tests.support.ports import two_hosts
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.lookup import Absent, Found, Lookup
from trioedge.upstreams.pool.idle import MAX_IDLE_SECONDS, PROBE_SECONDS
from trioedge.upstreams.pool.pace import TOP_UP_SECONDS
from trioedge.upstreams.pool.pool import IdlePool

NOWHERE = Target(parse_address("tcp://127.0.0.1:1"), 5.0, retries=0)


@attrs.define
class Held:
    """A pool of which the test makes the connections, and moves the clock."""

    pool: IdlePool
    connector: HeldConnector
    clock: trio.testing.MockClock
    upstream: list[socket.socket] = attrs.field(factory=list)
    begun: int = 0

    async def settle(self) -> None:
        """Let callbacks and the worker run."""
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()

    async def connect(self) -> int:
        """Have the attempts that were begun succeed, until the pool begins none; give how many there were."""
        made = 0
        await self.settle()
        while self.connector.callbacks:
            while self.connector.callbacks:
                self.upstream.append(self.connector.connect()[1])
                made += 1
            await self.settle()
        self.begun += made
        return made

    async def sleep(self, seconds: float) -> None:
        self.clock.jump(seconds)
        await self.settle()

    async def take(self) -> None:
        """Take a connection as a session does: in a callback of the reactor."""
        taken = self.pool.take()
        assert taken is not None
        self.connector.reactor.remove(taken[0].fileno())
        taken[0].close()

    def wake(self) -> None:
        """Have the reactor run a batch, as the sockets of sessions do."""
        near, far = socket.socketpair()
        self.connector.reactor.add(near.fileno(), self)  # type: ignore[arg-type]
        far.close()
        self._near = near

    _near: socket.socket | None = None

    def on_ready(self, fd: int, mask: int) -> None:
        self.connector.reactor.forget(fd)
        assert self._near is not None
        self._near.close()


@asynccontextmanager
async def held(size: int, clock: trio.testing.MockClock) -> AsyncIterator[Held]:
    reactor = Reactor(EdgeLog())
    connector = HeldConnector(reactor)
    pool = IdlePool(connector, reactor, EdgeLog(), NOWHERE, size=size)
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(pool.run)
        world = Held(pool, connector, clock)
        assert await world.connect() == size
        yield world
        nursery.cancel_scope.cancel()
    for sock in world.upstream:
        sock.close()


async def test_a_connection_that_a_session_took_is_replaced_when_the_session_ends(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with held(8, mock_clock) as world:
        for _ in range(3):
            await world.take()
        world.wake()
        assert await world.connect() == 0
        world.pool.released()
        world.wake()
        assert await world.connect() == 1
        assert len(world.pool) == 6


async def test_connections_are_replaced_one_at_a_time_and_at_once_while_fewer_than_half_are_left(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with held(8, mock_clock) as world:
        for _ in range(7):
            await world.take()
        world.wake()
        assert await world.connect() == 3
        assert len(world.pool) == 4


async def test_a_pool_is_full_again_a_second_after_sessions_that_stay(mock_clock: trio.testing.MockClock) -> None:
    async with held(8, mock_clock) as world:
        for _ in range(4):
            await world.take()
        assert await world.connect() == 0
        await world.sleep(TOP_UP_SECONDS)
        assert await world.connect() == 4
        assert len(world.pool) == 8


async def test_sessions_that_end_later_than_that_cause_no_surplus(mock_clock: trio.testing.MockClock) -> None:
    async with held(4, mock_clock) as world:
        for _ in range(2):
            await world.take()
        await world.sleep(TOP_UP_SECONDS)
        assert await world.connect() == 2
        for _ in range(2):
            world.pool.released()
        world.wake()
        assert await world.connect() == 0


async def test_an_unused_connection_is_replaced_at_its_age_a_quarter_of_the_pool_at_a_time(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with held(8, mock_clock) as world:
        await world.sleep(MAX_IDLE_SECONDS - 0.1)
        assert await world.connect() == 0
        await world.sleep(0.1)
        assert len(world.pool) == 6
        assert await world.connect() == 2
        for _ in range(3):
            await world.sleep(TOP_UP_SECONDS)
            assert await world.connect() == 2
        await world.sleep(TOP_UP_SECONDS)
        assert await world.connect() == 0
        assert [sock.recv(1, socket.MSG_DONTWAIT) for sock in world.upstream[:8]] == [b""] * 8
        assert len(world.pool) == 8


async def test_a_server_that_hangs_up_unused_connections_is_asked_less_and_less_often_and_said_once(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with held(8, mock_clock) as world:
        with capture_logs() as logs:
            for _ in range(150):  # 15 s, in each of which a connection lives for 1.2 s
                await world.sleep(0.1)
                if _ % 12 == 11:
                    for sock in world.upstream:
                        sock.close()
                    await world.settle()
                await world.connect()
        assert 8 + 4 <= world.begun <= 8 + 12
        assert [(each["event"], each["after_seconds"]) for each in logs] == [
            ("preconnect: the upstream closes unused connections", pytest.approx(1.2, abs=0.2))
        ]
        assert logs[0]["upstream"] == "tcp://127.0.0.1:1"


async def test_after_a_session_took_a_connection_of_an_impatient_upstream_the_pool_fills(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with held(4, mock_clock) as world:
        for sock in world.upstream:
            sock.close()
        await world.settle()
        await world.sleep(0.1)
        assert await world.connect() == 1
        await world.take()
        world.wake()
        assert await world.connect() == 2
        await world.sleep(TOP_UP_SECONDS)
        assert await world.connect() == 2


async def test_a_refusal_begins_one_pause_however_many_connects_it_ends(mock_clock: trio.testing.MockClock) -> None:
    async with held(4, mock_clock) as world:
        for _ in range(4):
            await world.take()
        await world.sleep(TOP_UP_SECONDS)
        refused = world.connector.callbacks[:]
        world.connector.callbacks.clear()
        for callback in refused:
            callback.failed(UpstreamError(Reason.UPSTREAM_REFUSED, "no"))
        world.pool.released()
        world.wake()
        assert await world.connect() == 0
        await world.sleep(0.1)
        assert await world.connect() == 4


async def test_idle_connections_are_probed(mock_clock: trio.testing.MockClock) -> None:
    async with held(1, mock_clock) as world:
        await world.sleep(1.0)
        taken = world.pool.take()
        assert taken is not None
        assert taken[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert taken[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBE_SECONDS
        world.connector.reactor.remove(taken[0].fileno())
        taken[0].close()


@pytest.mark.parametrize(
    ("answer", "hosts"),
    [(["127.0.0.2"], {"127.0.0.2"}), (["127.0.0.2", "127.0.0.1"], {"127.0.0.1"}), (Absent("gone", 60.0), set())],
)
async def test_connections_to_an_address_that_the_name_has_no_more_are_closed_after_its_time_to_live(
    answer: list[str] | Lookup, hosts: set[str], mock_clock: trio.testing.MockClock
) -> None:
    names = FakeNames(redis=Found(("127.0.0.1",), 10.0))
    with two_hosts() as (first, _):
        port = first.getsockname()[1]
        async with open_connector(names) as (connector, reactor), trio.open_nursery() as nursery:
            target = Target(Address("tcp", "redis.test", port), 5.0, retries=0)
            pool = IdlePool(connector, reactor, EdgeLog(), target, size=2)
            await nursery.start(pool.run)
            await until_has(pool, 2)
            names.answers["redis"] = answer
            mock_clock.jump(9.0)
            await trio.testing.wait_all_tasks_blocked()
            assert peers(pool) == {"127.0.0.1"}
            mock_clock.jump(1.0)
            for _ in range(2000):
                await trio.lowlevel.checkpoint()
                if len(names.asked) >= 2:
                    break
            await until_has(pool, 2 if hosts else 0, hosts)
            nursery.cancel_scope.cancel()


def peers(pool: IdlePool) -> set[str]:
    return {idle.sock.getpeername()[0] for idle in pool._idle}


async def until_has(pool: IdlePool, size: int, hosts: set[str] | None = None) -> None:
    """Wait without the clock: the kernel makes the connections."""
    for _ in range(2000):
        await trio.lowlevel.checkpoint()
        if len(pool) == size and (hosts is None or peers(pool) == hosts):
            return
    raise AssertionError(f"{len(pool)} connections to {peers(pool)}")
