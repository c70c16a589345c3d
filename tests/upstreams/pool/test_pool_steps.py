"""What a pool does in each batch and in each turn of the loop: counted, with connections that the test makes."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.connectors import HeldConnector
from tests.support.wires import tcp_pair
from trioedge.addresses.address import parse_address
from trioedge.loop.reactor import Reactor
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.attempt import Attempt, ConnectCallback
from trioedge.upstreams.connector import Target
from trioedge.upstreams.pool.idle import MAX_IDLE_SECONDS, SETTLED_SECONDS
from trioedge.upstreams.pool.pace import TOP_UP_SECONDS
from trioedge.upstreams.pool.pool import AT_ONCE, IdlePool

NOWHERE = Target(parse_address("tcp://127.0.0.1:1"), 5.0, retries=0)


class Batches(Reactor):
    """A reactor that does not run: the test ends its batches, and moves its clock."""

    def __init__(self) -> None:
        super().__init__(EdgeLog())
        self.now = 0.0

    def refresh(self) -> float:
        return self.now

    def end_batch(self) -> None:
        while self._again:
            self._again.popleft().resume()


@attrs.define
class Bench:
    """A pool without its worker, filled by the test."""

    size: int
    reactor: Batches = attrs.field(factory=Batches)
    far: list[socket.socket] = attrs.field(factory=list)
    connector: HeldConnector = attrs.field(init=False)
    pool: IdlePool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connector = HeldConnector(self.reactor)
        self.pool = IdlePool(self.connector, self.reactor, EdgeLog(), NOWHERE, size=self.size)
        for _ in range(self.size):
            self.connect_one()

    def connect_one(self) -> None:
        self.pool._connect()
        self.far.append(self.connector.connect()[1])

    def take(self, count: int) -> None:
        for _ in range(count):
            taken = self.pool.take()
            assert taken is not None
            self.reactor.remove(taken[0].fileno())
            taken[0].close()

    def begun(self) -> int:
        """End the batch, and count the connects that it began."""
        before = len(self.connector.callbacks)
        self.reactor.end_batch()
        return len(self.connector.callbacks) - before


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        while bench.pool._drop_one():
            pass
        for sock in bench.far:
            sock.close()


@pytest.mark.parametrize(
    ("size", "taken", "ended", "connects"),
    [
        (8, 4, 0, 0),  # half are left
        (8, 5, 0, 1),
        (8, 8, 0, 4),
        (7, 3, 0, 0),
        (7, 4, 0, 1),
        (1, 1, 0, 1),
        (8, 1, 1, 1),
        (8, 3, 2, 2),
        (8, 3, 3, 3),
        (8, 5, 1, 1),
        (8, 6, 3, 3),
        (8, 1, 3, 1),  # no more than are missing
    ],
)
async def test_a_batch_replaces_what_ended_sessions_had_and_what_half_of_the_pool_lacks(
    size: int, taken: int, ended: int, connects: int, benches: list[Bench]
) -> None:
    benches.append(bench := Bench(size))
    bench.take(taken)
    for _ in range(ended):
        bench.pool.released()
    assert bench.begun() == connects
    assert bench.begun() == 0


async def test_a_session_that_ends_after_a_batch_is_counted_in_the_next_one(benches: list[Bench]) -> None:
    benches.append(bench := Bench(8))
    bench.take(4)
    for _ in range(4):
        bench.pool.released()
        assert bench.begun() == 1


async def test_a_session_that_ends_when_a_smaller_pool_is_full_is_not_replaced(benches: list[Bench]) -> None:
    benches.append(bench := Bench(8))
    bench.take(1)
    bench.pool.released()
    bench.pool.resize(7)
    assert bench.begun() == 0


async def test_a_dead_connection_is_closed_by_the_session_that_finds_it_and_begins_a_pause(
    benches: list[Bench],
) -> None:
    benches.append(bench := Bench(2))
    near = [idle.sock for idle in bench.pool._idle]
    bench.far[1].close()
    with capture_logs() as logs:
        taken = bench.pool.take()
        assert taken is not None
        assert taken[0] is near[0]
    assert (near[1].fileno(), len(bench.reactor)) == (-1, 1)
    assert [each["event"] for each in logs] == ["preconnect: the upstream closes unused connections"]
    bench.reactor.remove(taken[0].fileno())
    taken[0].close()


async def test_the_age_of_a_connection_that_the_upstream_closed_is_logged_to_a_tenth_of_a_second(
    benches: list[Bench],
) -> None:
    benches.append(bench := Bench(0))
    bench.pool.resize(1)
    bench.reactor.now = 10.0
    bench.connect_one()
    bench.reactor.now = 12.34
    (idle,) = bench.pool._idle
    with capture_logs() as logs:
        idle.crashed(LookupError())
        idle.crashed(LookupError())  # it is gone already
    assert [each["after_seconds"] for each in logs] == [2.3]


@pytest.mark.parametrize(("readable", "left"), [(True, 0), (False, 1)])
async def test_a_connection_that_was_closed_before_it_was_made_known_is_not_kept(
    readable: bool, left: int, benches: list[Bench]
) -> None:
    """The event of the close has passed if the connect said so; else the next batch has it."""
    benches.append(bench := Bench(0))
    bench.pool.resize(1)
    bench.pool._connect()
    near, far = tcp_pair()
    near.setblocking(False)
    far.close()
    callback = bench.connector.callbacks.pop()
    bench.reactor.add(near.fileno(), callback)  # type: ignore[arg-type]
    callback.connected(near, readable)
    assert (len(bench.pool), len(bench.reactor)) == (left, left)


@contextmanager
def each_turn(measure: Callable[[], int]) -> Iterator[list[int]]:
    """Note a measure now and at the end of each turn of the loop."""
    seen = [measure()]

    class AtTheEnd(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            seen.append(measure())

    trio.lowlevel.add_instrument(instrument := AtTheEnd())
    try:
        yield seen
    finally:
        trio.lowlevel.remove_instrument(instrument)


class Counting(HeldConnector):
    """Notes the reactor's time at each connect, which takes 0.1 s."""

    def __init__(self, reactor: Reactor, clock: trio.testing.MockClock | None = None) -> None:
        super().__init__(reactor)
        self.times: list[tuple[float, float]] = []
        self.clock = clock

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        self.times.append((self.reactor.now, trio.current_time()))
        if self.clock is not None:
            self.clock.jump(0.1)
        return super().start(target, callback)


async def test_a_pool_begins_one_connect_a_turn_of_the_loop_at_the_time_of_that_turn(
    mock_clock: trio.testing.MockClock,
) -> None:
    reactor = Reactor(EdgeLog())
    counting = Counting(reactor, mock_clock)
    pool = IdlePool(counting, reactor, EdgeLog(), NOWHERE, size=5)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with each_turn(lambda: len(counting.times)) as begun:
            while len(counting.times) < 5:
                await trio.lowlevel.checkpoint()
        assert max(after - before for before, after in pairwise(begun)) == 1
        assert [seen for seen, _ in counting.times] == [now for _, now in counting.times]
        nursery.cancel_scope.cancel()


async def test_a_pool_that_becomes_smaller_between_two_connects_begins_no_second_one() -> None:
    reactor = Reactor(EdgeLog())
    counting = Counting(reactor)
    pool = IdlePool(counting, reactor, EdgeLog(), NOWHERE, size=2)

    def shrink() -> int:
        if len(counting.times) == 1 and pool._size == 2:
            pool.resize(1)
        return len(counting.times)

    async with trio.open_nursery() as nursery:
        with each_turn(shrink):
            await nursery.start(pool.run)
            await trio.testing.wait_all_tasks_blocked()
        assert len(counting.times) == 1
        nursery.cancel_scope.cancel()


async def test_surplus_connections_are_closed_16_a_turn_of_the_loop_and_a_closed_pool_ends() -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)
    pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=40)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            while len(held.callbacks) < 40:
                await trio.lowlevel.checkpoint()
            pairs = [held.connect() for _ in range(40)]
            await trio.testing.wait_all_tasks_blocked()
            pool.close()
            with each_turn(lambda: len(pool)) as sizes:
                while pool:
                    await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
    assert list(dict.fromkeys(sizes)) == [40, 40 - AT_ONCE, 40 - 2 * AT_ONCE, 0]
    assert len(reactor) == 0
    for _, far in pairs:
        far.close()


async def test_a_pool_that_is_cancelled_before_it_begins_connects_nothing() -> None:
    reactor = Reactor(EdgeLog())
    held = HeldConnector(reactor)
    pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.run()
    assert held.attempts == {}


async def test_a_session_that_ends_after_its_pool_was_cancelled_is_not_replaced() -> None:
    reactor = Batches()
    held = HeldConnector(reactor)
    pool = IdlePool(held, reactor, EdgeLog(), NOWHERE, size=2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.run()
    pool.released()
    reactor.end_batch()
    assert held.attempts == {}


async def test_an_outbound_that_stops_the_process_is_not_held_back() -> None:
    class Stopping(HeldConnector):
        def start(self, target: Target, callback: ConnectCallback) -> Attempt:
            raise KeyboardInterrupt

    reactor = Reactor(EdgeLog())
    pool = IdlePool(Stopping(reactor), reactor, EdgeLog(), NOWHERE, size=2)
    with pytest.raises(KeyboardInterrupt):
        await pool.run()


class Live:
    """A pool with its worker, on a clock that the test moves."""

    def __init__(self, clock: trio.testing.MockClock, size: int) -> None:
        self.clock = clock
        self.reactor = Reactor(EdgeLog())
        self.held = HeldConnector(self.reactor)
        self.pool = IdlePool(self.held, self.reactor, EdgeLog(), NOWHERE, size=size)
        self.far: list[socket.socket] = []

    async def connect(self) -> int:
        """Have every connect succeed that the pool begins now; give their number."""
        made = 0
        await trio.testing.wait_all_tasks_blocked()
        while self.held.callbacks:
            self.far.append(self.held.connect()[1])
            made += 1
            await trio.testing.wait_all_tasks_blocked()
        return made

    async def at(self, seconds: float) -> int:
        """Go to a time, and have the connects of then succeed."""
        self.clock.jump(seconds - trio.current_time())
        return await self.connect()

    async def lose(self) -> None:
        """Have the upstream close the newest connection."""
        self.reactor.refresh()
        *_, idle = self.pool._idle
        idle.crashed(ConnectionResetError())
        await trio.testing.wait_all_tasks_blocked()

    def probed(self) -> list[bool]:
        return [bool(idle.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) for idle in self.pool._idle]


@asynccontextmanager
async def living(clock: trio.testing.MockClock, size: int) -> AsyncIterator[Live]:
    """Run a pool until the block ends."""
    live = Live(clock, size)
    async with trio.open_nursery() as nursery:
        await nursery.start(live.pool.run)
        yield live
        live.pool.close()
    for sock in live.far:
        sock.close()


async def test_pauses_of_an_impatient_upstream_double_with_each_connection_that_it_closes(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.upstreams.pool.pool.random.random", lambda: 1.0)
    async with living(mock_clock, 1) as live:
        assert await live.connect() == 1
        now = 0.0
        for pause in (0.1, 0.2, 0.4, 0.8):
            await live.lose()
            assert await live.at(now + 0.9 * pause) == 0
            assert await live.at(now + pause + 0.001) == 1
            now += pause + 1.0
            assert await live.at(now) == 0


async def test_a_connection_that_lives_to_its_end_makes_the_pauses_short_again(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.upstreams.pool.pool.random.random", lambda: 1.0)
    async with living(mock_clock, 1) as live:
        assert await live.connect() == 1
        with capture_logs() as logs:
            await live.lose()
            assert await live.at(0.101) == 1
            await live.at(5.0)
            assert await live.at(0.101 + MAX_IDLE_SECONDS + SETTLED_SECONDS) == 1
            await live.lose()
            now = trio.current_time()
            assert await live.at(now + 0.101) == 1
        assert len(logs) == 2


async def test_a_small_pool_closes_one_old_connection_a_second(mock_clock: trio.testing.MockClock) -> None:
    async with living(mock_clock, 3) as live:
        assert await live.connect() == 3
        await live.at(5.0)
        for number in range(3):
            assert await live.at(MAX_IDLE_SECONDS + number * SETTLED_SECONDS) == 1
        assert await live.at(MAX_IDLE_SECONDS + 3 * SETTLED_SECONDS) == 0


async def test_a_connection_is_probed_a_second_after_it_was_made_whatever_comes_later(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with living(mock_clock, 1) as live:
        assert await live.at(0.0) == 1
        await live.at(0.5)
        live.pool.resize(2)
        live.reactor.refresh()
        assert await live.connect() == 1
        await live.at(SETTLED_SECONDS)
        assert live.probed() == [True, False]
        await live.at(2 * SETTLED_SECONDS)
        assert live.probed() == [True, True]


async def test_a_full_pool_that_a_session_takes_from_again_is_full_a_second_later(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with living(mock_clock, 4) as live:
        assert await live.connect() == 4
        for begin in (10.0, 20.0):
            await live.at(begin)
            live.reactor.refresh()
            taken = live.pool.take()
            assert taken is not None
            live.reactor.remove(taken[0].fileno())
            taken[0].close()
            assert await live.at(begin + TOP_UP_SECONDS - 0.01) == 0
            assert await live.at(begin + TOP_UP_SECONDS) == 1
