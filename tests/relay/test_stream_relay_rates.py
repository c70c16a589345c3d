"""The relay over memory streams: a timeline keeps the rate of each direction."""

from math import inf

import pytest
import trio
import trio.testing

from tests.support.memory_relays import MemoryRelay
from trioedge.relay.timeline import MAX_WAIT_SECONDS, read_size

RATE = 100_000.0


async def flood(stream: trio.abc.HalfCloseableStream) -> None:
    """Send as fast as the reader receives."""
    while True:
        await stream.send_all(bytes(65536))


async def pour(stream: trio.abc.HalfCloseableStream, rate: float) -> None:
    """Send `rate` bytes a second, or fewer if the reader is slower."""
    while True:
        await trio.sleep(0.01)
        await stream.send_all(bytes(int(rate / 100)))


async def drink(stream: trio.abc.HalfCloseableStream) -> None:
    while await stream.receive_some(65536):
        pass


def paced_relay(nursery: trio.Nursery, *, down_rate: float = inf, up_rate: float = inf) -> MemoryRelay:
    """A relay over streams without a buffer, whose ends receive at once."""
    relay = MemoryRelay(nursery, trio.testing.lockstep_stream_pair, down_rate=down_rate, up_rate=up_rate)
    nursery.start_soon(drink, relay.client)
    nursery.start_soon(drink, relay.upstream)
    return relay


def about(rate: float, seconds: float) -> object:
    """The bytes of this time at this rate, give or take one read."""
    return pytest.approx(rate * seconds, abs=read_size(rate) + 1)


async def test_each_direction_has_a_rate_of_its_own(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = paced_relay(nursery, down_rate=RATE, up_rate=RATE / 5)
    nursery.start_soon(flood, relay.client)
    nursery.start_soon(flood, relay.upstream)
    for seconds in (1, 20):
        await trio.sleep_until(seconds)
        assert (relay.session.bytes_down, relay.session.bytes_up) == (about(RATE, seconds), about(RATE / 5, seconds))
    nursery.cancel_scope.cancel()


async def test_another_rate_applies_from_the_next_read_on(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = paced_relay(nursery, down_rate=RATE)
    nursery.start_soon(pour, relay.upstream, 20 * RATE)
    await trio.sleep(2)
    moved = relay.session.bytes_down
    for rate in (4 * RATE, RATE / 2, 20 * RATE):
        relay.session.pace(rate, inf)
        await trio.sleep(2)
        now = relay.session.bytes_down
        assert now - moved == pytest.approx(2 * rate, rel=0.06, abs=read_size(4 * RATE))
        moved = now
    nursery.cancel_scope.cancel()


async def test_a_wait_under_way_is_shortened_by_a_higher_rate(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, down_rate=1000.0)
    await relay.upstream.send_all(bytes(1000))
    await relay.client.receive_some(1000)
    began = trio.current_time()
    await trio.sleep(0.2)
    await relay.upstream.send_all(b"next")
    relay.session.pace(4000.0, inf)
    assert await relay.client.receive_some() == b"next"
    assert trio.current_time() - began == pytest.approx(0.4)
    assert relay.session.bytes_down == 1004
    await relay.upstream.send_all(bytes(1460))
    await relay.client.receive_some()
    relay.session.pace(inf, inf)
    began = trio.current_time()
    await relay.upstream.send_all(b"at once")
    assert await relay.client.receive_some() == b"at once"
    assert trio.current_time() == began
    nursery.cancel_scope.cancel()


async def test_a_wait_under_way_is_lengthened_by_a_lower_rate_to_a_second_at_most(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, up_rate=10_000.0)
    await relay.client.send_all(bytes(1000))
    await relay.upstream.receive_some(1000)
    relay.session.pace(inf, 100.0)
    began = trio.current_time()
    await relay.client.send_all(b"next")
    assert await relay.upstream.receive_some() == b"next"
    assert trio.current_time() - began == pytest.approx(MAX_WAIT_SECONDS)
    nursery.cancel_scope.cancel()


async def test_a_rate_may_be_set_and_removed_while_bytes_move(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = paced_relay(nursery)
    assert relay.session.pacing == ""
    nursery.start_soon(pour, relay.upstream, 10 * RATE)
    for down_rate, pacing in ((inf, ""), (RATE, "timeline"), (inf, "")):
        relay.session.pace(down_rate, inf)
        assert relay.session.pacing == pacing
        await trio.sleep(0.1)  # the wait under way
        moved = relay.session.bytes_down
        await trio.sleep(2)
        rate = min(down_rate, 10 * RATE)
        assert relay.session.bytes_down - moved == pytest.approx(2 * rate, rel=0.06)
    nursery.cancel_scope.cancel()


async def test_a_pause_gives_no_credit(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    relay = paced_relay(nursery, down_rate=RATE)
    await trio.sleep(100)
    nursery.start_soon(flood, relay.upstream)
    for seconds in (0.001, 0.5, 3):
        await trio.sleep_until(100 + seconds)
        assert relay.session.bytes_down <= RATE * seconds + read_size(RATE)
    nursery.cancel_scope.cancel()


async def test_no_wait_is_longer_than_a_second_however_slow_the_rate(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = paced_relay(nursery, down_rate=10.0)
    nursery.start_soon(flood, relay.upstream)
    await trio.sleep(0.5)
    assert relay.session.bytes_down == 10
    relay.session.pace(RATE, inf)
    await trio.sleep(MAX_WAIT_SECONDS + 1)
    assert relay.session.bytes_down >= RATE
    nursery.cancel_scope.cancel()


async def test_a_question_after_a_pause_is_carried_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, down_rate=1000.0, up_rate=1000.0)
    for _ in range(3):
        asked_at = trio.current_time()
        await relay.client.send_all(bytes(500))
        await relay.upstream.receive_some()
        await relay.upstream.send_all(bytes(500))
        await relay.client.receive_some()
        assert trio.current_time() == asked_at
        await trio.sleep(0.5)
    nursery.cancel_scope.cancel()


async def test_a_wait_for_the_rate_does_not_count_as_idle(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = paced_relay(nursery, down_rate=100.0)
    relay.session.idle_seconds = 0.5
    nursery.start_soon(flood, relay.upstream)
    await trio.sleep(10)
    assert relay.outcome is None
    assert relay.session.bytes_down == about(100.0, 10)
    nursery.cancel_scope.cancel()


async def test_the_last_bytes_are_carried_at_once_and_the_end_follows_after_their_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Bytes are charged once they are sent, so only the end waits."""
    relay = MemoryRelay(nursery, up_rate=1000.0)
    await relay.client.send_all(bytes(1000))
    await relay.client.send_eof()
    assert len(await relay.upstream.receive_some()) == 1000
    assert trio.current_time() == 0
    assert await relay.upstream.receive_some() == b""
    assert trio.current_time() <= MAX_WAIT_SECONDS
    nursery.cancel_scope.cancel()
