import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.cancels import cancel_at_every_step
from tests.support.connectors import HeldConnector
from tests.support.ports import closed_port
from tests.support.wires import echo, server
from trioedge.addresses.address import parse_address
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Reason
from trioedge.structures.backoff import Backoff
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.attempt import Attempt, ConnectCallback
from trioedge.upstreams.connector import Connector, Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.pool.pool import IdlePool
from trioedge.upstreams.resolver import Resolver

NOWHERE = Target(parse_address("tcp://127.0.0.1:1"), 5.0)


@asynccontextmanager
async def open_pool(port: int, size: int = 3) -> AsyncIterator[tuple[IdlePool, Reactor]]:
    reactor = Reactor(EdgeLog())
    connector = Connector(reactor, Resolver(reactor))
    pool = IdlePool(
        connector, reactor, EdgeLog(), Target(parse_address(f"tcp://127.0.0.1:{port}"), 5.0, retries=0), size=size
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(pool.run)
        yield pool, reactor
        nursery.cancel_scope.cancel()
    assert len(pool) == 0


async def filled(pool: IdlePool, size: int = 3) -> None:
    with trio.fail_after(5):
        while len(pool) < size:
            await trio.sleep(0.005)


async def test_a_taken_connection_is_replaced() -> None:
    async with server() as port, open_pool(port) as (pool, reactor):
        await filled(pool)
        taken = pool.take()
        assert taken is not None
        sock, readable = taken
        assert not readable
        assert len(pool) == 2
        await filled(pool)
        reactor.remove(sock.fileno())
        sock.close()


async def test_a_connection_that_the_upstream_closed_is_replaced() -> None:
    connections: list[trio.SocketStream] = []

    async def hold(connection: trio.SocketStream) -> None:
        connections.append(connection)
        await trio.sleep_forever()

    async with server(hold) as port, open_pool(port) as (pool, _):
        await filled(pool)
        with trio.fail_after(5):
            while len(connections) < 3:  # the server accepts them later than the pool has them
                await trio.sleep(0.001)
        await connections[0].aclose()
        with trio.fail_after(5):
            while len(connections) < 4 or len(pool) < 3:
                await trio.sleep(0.005)


async def test_a_connection_that_was_closed_just_now_is_not_given_to_a_session() -> None:
    async with server(echo) as port, open_pool(port, size=1) as (pool, _):
        await filled(pool, 1)
        (idle,) = pool._idle
        idle.sock.shutdown(2)  # closed, and the reactor has not seen the event yet
        assert pool.take() is None


async def test_a_connection_on_which_the_upstream_sent_first_is_marked_as_readable() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 welcome")
        await trio.sleep_forever()

    async with server(greet) as port, open_pool(port) as (pool, reactor):
        await filled(pool)
        await trio.sleep(0.02)
        taken = pool.take()
        assert taken is not None
        assert taken[1]
        assert taken[0].recv(100) == b"220 welcome"
        reactor.remove(taken[0].fileno())
        taken[0].close()


async def test_an_upstream_that_refuses_is_tried_again_with_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    class RecordingBackoff(Backoff):
        def failed(self) -> float:
            pauses.append(super().failed())
            return 0.001

    monkeypatch.setattr("trioedge.upstreams.pool.pool.Backoff", RecordingBackoff)
    with capture_logs() as logs:
        async with open_pool(closed_port()) as (pool, _):
            with trio.fail_after(5):
                while len(pauses) < 8:
                    await trio.sleep(0.001)
            assert len(pool) == 0
    assert all(0.05 <= pause <= 30 for pause in pauses)
    assert pauses[6] > pauses[0] * 8
    assert [entry["event"] for entry in logs] == ["preconnect failed"]  # once a second, not once a try


async def test_an_upstream_that_closes_at_once_is_tried_less_and_less_often() -> None:
    accepted = 0

    async def hang_up(connection: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1

    with capture_logs() as logs:
        async with server(hang_up) as port, open_pool(port, size=4):
            await trio.sleep(1.5)
    assert 4 <= accepted <= 4 * 6  # at 0, 0.1, 0.3, 0.7 and 1.5 s, or twice as often with the jitter
    assert logs
    assert {entry["event"] for entry in logs} == {"preconnect: the upstream closes unused connections"}


async def test_a_larger_size_is_filled_and_a_smaller_one_closes_the_oldest() -> None:
    accepted: list[trio.SocketStream] = []
    closed: list[int] = []

    async def number(connection: trio.SocketStream) -> None:
        mine = len(accepted)
        accepted.append(connection)
        await connection.receive_some()
        closed.append(mine)

    async with server(number) as port, open_pool(port, size=1) as (pool, reactor):
        for size in range(1, 6):  # one after the other, so that the oldest is known
            pool.resize(size)
            await filled(pool, size)
        pool.resize(2)
        with trio.fail_after(5):
            while len(closed) < 3:
                await trio.sleep(0.001)
        assert sorted(closed) == [0, 1, 2]
        assert len(pool) == len(reactor) == 2
        pool.resize(0)
        with trio.fail_after(5):
            while pool:
                await trio.sleep(0.001)
        pool.resize(2)
        await filled(pool, 2)


async def test_connect_attempts_that_a_resize_makes_surplus_are_cancelled() -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)
    pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=4)
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(pool.run)
        await trio.testing.wait_all_tasks_blocked()
        assert len(held.callbacks) == 4
        pairs = [held.connect()]
        pool.resize(2)
        pairs += [held.connect() for _ in range(3)]
        assert [near.fileno() >= 0 for near, _ in pairs] == [True, True, False, False]
        assert len(pool) == len(reactor) == 2
        pool.resize(3)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(held.callbacks) == 1, "only the connection that is missing is made"
        for _, far in pairs:
            far.close()
        nursery.cancel_scope.cancel()


async def test_a_size_that_is_set_back_to_0_at_once_leaves_no_connection() -> None:
    async with server() as port, open_pool(port, size=0) as (pool, reactor):
        pool.resize(3)
        pool.resize(0)
        await trio.sleep(0.02)
        assert len(pool) == len(reactor) == 0


class Faulty(HeldConnector):
    """Raises at first, as a user's outbound may."""

    def __init__(self, reactor: Reactor, faults: int) -> None:
        super().__init__(reactor)
        self.tries_at: list[float] = []
        self._faults = faults

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        self.tries_at.append(trio.current_time())
        if len(self.tries_at) <= self._faults:
            raise LookupError("bug")
        return super().start(target, callback)


async def test_an_outbound_that_raises_is_logged_and_tried_again_after_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.upstreams.pool.pool.FIRST_RETRY_SECONDS", 0.02)
    reactor = Reactor(EdgeLog())
    faulty = Faulty(reactor, faults=2)
    pool = IdlePool(faulty, reactor, EdgeLog(), NOWHERE, size=2)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            await nursery.start(pool.run)
            with trio.fail_after(5):
                while len(faulty.callbacks) < 2:
                    await trio.sleep(0.005)
            pairs = [faulty.connect() for _ in range(2)]
            assert len(pool) == 2
            nursery.cancel_scope.cancel()
    for _, far in pairs:
        far.close()
    first, second, third, _ = faulty.tries_at
    assert second - first >= 0.01
    assert third - second >= 0.02
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("outbound failed", "error"),
        ("preconnect failed", "warning"),
    ]
    assert isinstance(logs[0]["exc_info"], LookupError)
    assert logs[0]["upstream"] == logs[1]["upstream"] == "tcp://127.0.0.1:1"
    assert len(pool) == len(reactor) == 0


async def test_a_cancel_at_any_step_closes_every_connection() -> None:
    """While the pool starts to connect, waits, pauses after a failure, and closes surplus connections."""
    pools, connectors = list[IdlePool](), list[HeldConnector]()
    made: list[tuple[socket.socket, socket.socket]] = []

    async def live() -> None:
        reactor = Reactor(EdgeLog())
        connectors.append(held := HeldConnector(reactor))
        pools.append(IdlePool(held, reactor, EdgeLog(), NOWHERE, size=40))
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            await nursery.start(pools[-1].run)
            while len(held.callbacks) < 40:
                await trio.lowlevel.checkpoint()
            made.extend(held.connect() for _ in range(20))
            pools[-1].resize(60)
            while len(held.callbacks) < 40:
                await trio.lowlevel.checkpoint()
            held.callbacks.pop(0).failed(UpstreamError(Reason.UPSTREAM_REFUSED, "no"))
            for size in (30, 0):
                pools[-1].resize(size)
                while len(pools[-1]._idle) + len(pools[-1]._refills) > size:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    def check() -> None:
        assert (len(pools[-1]), pools[-1]._refills) == (0, set())
        assert [near.fileno() for near, _ in made] == [-1] * len(made)
        held = connectors[-1]
        assert all(held.attempts[each]._callback is None for each in held.callbacks), "no attempt goes on"
        for _, far in made:
            far.close()
        made.clear()

    assert await cancel_at_every_step(live, check) > 15


async def test_connections_to_this_machine_are_idle_without_an_attempt_and_watched() -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)  # an attempt would never end
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = socket.AF_INET, listener.getsockname()
        pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=2, where=where)
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            await nursery.start(pool.run)
            await filled(pool, 2)
            await trio.sleep(0.02)  # the event that says that they are writable
            (first, _), (second, _) = listener.accept(), listener.accept()
            second.send(b"hello")
            await trio.sleep(0.02)
            newest, oldest = pool.take(), pool.take()
            assert newest is not None
            assert oldest is not None
            assert (newest[1], oldest[1]) == (True, False)
            await filled(pool, 2)
            for sock in (first, second, newest[0], oldest[0]):
                sock.close()
            third, _ = listener.accept()
            third.close()
            with trio.fail_after(5):
                while len(pool) == 2:
                    await trio.sleep(0.005)
            assert held.callbacks == []
            nursery.cancel_scope.cancel()


async def test_a_destination_of_this_machine_that_refuses_is_tried_as_any_other() -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)
    pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=1, where=(socket.AF_INET, ("127.0.0.1", closed_port())))
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(pool.run)
        with trio.fail_after(5):
            while not held.callbacks:
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


async def test_a_connection_that_cannot_be_watched_is_closed_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)
    tries: list[int] = []

    def add(self: Reactor, fd: int, ready: object) -> None:
        tries.append(fd)
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(Reactor, "add", add)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=1, where=(socket.AF_INET, listener.getsockname()))
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            await nursery.start(pool.run)
            with trio.fail_after(5):
                while len(tries) < 2:
                    await trio.sleep(0.01)
            assert len(pool) == len(reactor) == 0
            nursery.cancel_scope.cancel()
