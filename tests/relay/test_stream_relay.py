from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.wires import receive_all
from trioedge.relay.stream_relay import StreamRelay
from trioedge.relay.timeline import MAX_WAIT_SECONDS, read_size
from trioedge.session.allowance import Allowance
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.testing import make_session

MakePair = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]


class Line:
    """A client and an upstream in memory, with a relay between them."""

    def __init__(
        self, nursery: trio.Nursery, pair: MakePair = trio.testing.memory_stream_pair,
        *, allowance: Allowance | None = None, down_rate: float = inf, up_rate: float = inf,
    ) -> None:  # fmt: skip
        self.client, self._down = pair()
        self.upstream, self._up = pair()
        self.session: Session = make_session(now=trio.current_time())
        self.session.allowance = allowance
        self.session.down_rate, self.session.up_rate = down_rate, up_rate
        self.meters = (Meter(), Meter())
        self.relay = StreamRelay(self.session, self.meters)
        self.session.carrier = self.relay
        self.outcome: Outcome | None = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            self.outcome = await self.relay.run(self._down, self._up)
        finally:
            for stream in (self._down, self._up):
                await trio.aclose_forcefully(stream)


async def test_bytes_and_half_closes_go_both_ways_and_are_counted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line(nursery)
    await line.client.send_all(b"question")
    await line.client.send_eof()
    assert await receive_all(line.upstream) == b"question"
    await trio.sleep(1)
    await line.upstream.send_all(b"an answer")
    await line.upstream.send_eof()
    assert await receive_all(line.client) == b"an answer"
    await trio.testing.wait_all_tasks_blocked()
    assert line.outcome == Completed()
    assert (line.session.bytes_up, line.session.bytes_down) == (8, 9)
    assert (line.meters[0].bytes, line.meters[1].bytes) == (8, 9)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_side_that_breaks_takes_the_other_with_it(side: str, nursery: trio.Nursery) -> None:
    line = Line(nursery)
    breaks, other = (line.client, line.upstream) if side == "client" else (line.upstream, line.client)
    await trio.aclose_forcefully(breaks)
    await other.send_all(b"into the void")
    await trio.testing.wait_all_tasks_blocked()
    assert line.outcome is not None
    assert line.outcome.reason is Reason.RESET


async def test_a_slow_reader_holds_its_writer(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    line = Line(nursery, trio.testing.lockstep_stream_pair)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await line.upstream.send_all(bytes(65536))
            sent += 1

    nursery.start_soon(flood)
    await trio.sleep(10)
    assert sent <= 1
    await line.client.receive_some(65536)
    await trio.sleep(1)
    assert sent <= 2
    nursery.cancel_scope.cancel()


async def test_silence_ends_it_and_a_half_close_shortens_the_limit(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line(nursery)
    line.session.idle_seconds, line.session.half_closed_seconds = 100.0, 5.0
    await line.client.send_all(b"x")
    await trio.sleep(99)
    await line.client.send_all(b"x")
    await trio.sleep(99)
    assert line.outcome is None
    await line.client.send_eof()
    await trio.sleep(6)
    assert line.outcome == Completed(Reason.IDLE)


async def test_a_cut_ends_it_with_its_reason(nursery: trio.Nursery) -> None:
    line = Line(nursery)
    await trio.testing.wait_all_tasks_blocked()
    line.session.cut(Reason.EVICTED)
    await trio.testing.wait_all_tasks_blocked()
    assert line.outcome == Completed(Reason.EVICTED)
    assert await receive_all(line.client) == b""


# Rates, by a timeline in each direction.

RATE = 100_000.0


async def flood(stream: trio.abc.HalfCloseableStream) -> None:
    """Send as fast as it is taken."""
    while True:
        await stream.send_all(bytes(65536))


async def pour(stream: trio.abc.HalfCloseableStream, rate: float) -> None:
    """Send so many bytes a second, as far as they are taken."""
    while True:
        await trio.sleep(0.01)
        await stream.send_all(bytes(int(rate / 100)))


async def drink(stream: trio.abc.HalfCloseableStream) -> None:
    while await stream.receive_some(65536):
        pass


def paced_line(nursery: trio.Nursery, *, down_rate: float = inf, up_rate: float = inf) -> Line:
    """A line that holds nothing back in between, whose ends take whatever comes."""
    line = Line(nursery, trio.testing.lockstep_stream_pair, down_rate=down_rate, up_rate=up_rate)
    nursery.start_soon(drink, line.client)
    nursery.start_soon(drink, line.upstream)
    return line


def about(rate: float, seconds: float) -> object:
    """So many bytes, but for those of one read."""
    return pytest.approx(rate * seconds, abs=read_size(rate) + 1)


async def test_each_direction_has_its_rate(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    line = paced_line(nursery, down_rate=RATE, up_rate=RATE / 5)
    nursery.start_soon(flood, line.client)
    nursery.start_soon(flood, line.upstream)
    for seconds in (1, 20):
        await trio.sleep_until(seconds)
        assert (line.session.bytes_down, line.session.bytes_up) == (about(RATE, seconds), about(RATE / 5, seconds))
    nursery.cancel_scope.cancel()


async def test_another_rate_holds_from_the_next_read_on(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = paced_line(nursery, down_rate=RATE)
    nursery.start_soon(pour, line.upstream, 20 * RATE)
    await trio.sleep(2)
    moved = line.session.bytes_down
    for rate in (4 * RATE, RATE / 2, 20 * RATE):
        line.session.pace(rate, inf)
        await trio.sleep(2)
        now = line.session.bytes_down
        assert now - moved == pytest.approx(2 * rate, rel=0.06, abs=read_size(4 * RATE))
        moved = now
    nursery.cancel_scope.cancel()


async def test_a_wait_that_is_under_way_is_as_long_as_the_new_rate_has_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line(nursery, down_rate=1000.0)
    await line.upstream.send_all(bytes(1000))
    await line.client.receive_some(1000)
    began = trio.current_time()
    await trio.sleep(0.2)
    await line.upstream.send_all(b"next")
    line.session.pace(4000.0, inf)
    assert await line.client.receive_some() == b"next"
    assert trio.current_time() - began == pytest.approx(0.4)
    assert line.session.bytes_down == 1004
    await line.upstream.send_all(bytes(1460))
    await line.client.receive_some()
    line.session.pace(inf, inf)
    began = trio.current_time()
    await line.upstream.send_all(b"at once")
    assert await line.client.receive_some() == b"at once"
    assert trio.current_time() == began
    nursery.cancel_scope.cancel()


async def test_a_wait_is_longer_at_a_lower_rate_and_never_beyond_a_second(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line(nursery, up_rate=10_000.0)
    await line.client.send_all(bytes(1000))
    await line.upstream.receive_some(1000)
    line.session.pace(inf, 100.0)
    began = trio.current_time()
    await line.client.send_all(b"next")
    assert await line.upstream.receive_some() == b"next"
    assert trio.current_time() - began == pytest.approx(MAX_WAIT_SECONDS)
    nursery.cancel_scope.cancel()


async def test_a_rate_may_come_and_go_while_bytes_move(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = paced_line(nursery)
    assert line.session.pacing == ""
    nursery.start_soon(pour, line.upstream, 10 * RATE)
    for down_rate, pacing in ((inf, ""), (RATE, "timeline"), (inf, "")):
        line.session.pace(down_rate, inf)
        assert line.session.pacing == pacing
        await trio.sleep(0.1)  # what is under way
        moved = line.session.bytes_down
        await trio.sleep(2)
        rate = min(down_rate, 10 * RATE)
        assert line.session.bytes_down - moved == pytest.approx(2 * rate, rel=0.06)
    nursery.cancel_scope.cancel()


async def test_a_rest_saves_nothing_up(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    line = paced_line(nursery, down_rate=RATE)
    await trio.sleep(100)
    nursery.start_soon(flood, line.upstream)
    for seconds in (0.001, 0.5, 3):
        await trio.sleep_until(100 + seconds)
        assert line.session.bytes_down <= RATE * seconds + read_size(RATE)
    nursery.cancel_scope.cancel()


async def test_no_wait_is_longer_than_a_second_however_slow_the_rate(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = paced_line(nursery, down_rate=10.0)
    nursery.start_soon(flood, line.upstream)
    await trio.sleep(0.5)
    assert line.session.bytes_down == 10
    line.session.pace(RATE, inf)
    await trio.sleep(MAX_WAIT_SECONDS + 1)
    assert line.session.bytes_down >= RATE
    nursery.cancel_scope.cancel()


async def test_bytes_are_charged_once_they_are_read_so_that_a_question_is_never_late(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line(nursery, down_rate=1000.0, up_rate=1000.0)
    for _ in range(3):
        asked_at = trio.current_time()
        await line.client.send_all(bytes(500))
        await line.upstream.receive_some()
        await line.upstream.send_all(bytes(500))
        await line.client.receive_some()
        assert trio.current_time() == asked_at
        await trio.sleep(0.5)
    nursery.cancel_scope.cancel()


async def test_a_wait_for_the_rate_is_no_silence(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    line = paced_line(nursery, down_rate=100.0)
    line.session.idle_seconds = 0.5
    nursery.start_soon(flood, line.upstream)
    await trio.sleep(10)
    assert line.outcome is None
    assert line.session.bytes_down == about(100.0, 10)
    nursery.cancel_scope.cancel()


async def test_nobody_waits_at_the_end(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """The last bytes are there at once; only then is what they cost waited for."""
    line = Line(nursery, up_rate=1000.0)
    await line.client.send_all(bytes(1000))
    await line.client.send_eof()
    assert len(await line.upstream.receive_some()) == 1000
    assert trio.current_time() == 0
    assert await line.upstream.receive_some() == b""
    assert trio.current_time() <= MAX_WAIT_SECONDS
    nursery.cancel_scope.cancel()


# Allowances.


async def test_both_directions_and_all_sessions_share_an_allowance(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(100)
    lines = [Line(nursery, allowance=allowance) for _ in range(3)]
    for line in lines:
        await line.client.send_all(bytes(70))
        await line.upstream.send_all(bytes(70))
    await trio.sleep(1)
    assert 30 <= sum(line.session.bytes_up + line.session.bytes_down for line in lines) <= 100
    allowance.lift()
    await trio.sleep(1)
    assert [(line.session.bytes_up, line.session.bytes_down) for line in lines] == [(70, 70)] * 3
    nursery.cancel_scope.cancel()


async def test_a_pause_is_no_silence_and_the_limit_begins_anew_behind_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(0)
    line = Line(nursery, allowance=allowance)
    line.session.idle_seconds, line.session.half_closed_seconds = 10.0, 5.0
    await line.client.send_all(b"question")
    await trio.sleep(100)
    assert line.outcome is None
    allowance.lift()
    assert await line.upstream.receive_some() == b"question"
    await trio.sleep(9.9)
    assert line.outcome is None
    await trio.sleep(0.2)
    assert line.outcome == Completed(Reason.IDLE)


async def test_a_side_that_finishes_during_a_pause_does_not_end_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(8)
    line = Line(nursery, allowance=allowance)
    line.session.half_closed_seconds = 5.0
    await line.client.send_all(b"question")
    await line.upstream.send_eof()
    await line.client.send_all(b"and more")
    await trio.sleep(100)
    assert line.outcome is None
    allowance.lift()
    await line.client.send_eof()
    assert await receive_all(line.upstream) == b"questionand more"
    await trio.testing.wait_all_tasks_blocked()
    assert line.outcome == Completed()


@pytest.mark.parametrize("wait", ["allowance", "rest of an allowance", "rate"])
@pytest.mark.parametrize("how", ["cut", "cancelled"])
async def test_whoever_waits_can_be_stopped_and_leaves_nobody_behind(
    wait: str, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    allowance = None if wait == "rate" else Allowance(0 if wait == "allowance" else 10)
    async with trio.open_nursery() as nursery:
        line = Line(nursery, allowance=allowance, up_rate=100.0 if wait == "rate" else inf)
        await trio.testing.wait_all_tasks_blocked()
        await line.client.send_all(bytes(8))
        await line.upstream.send_all(bytes(8))
        await trio.sleep(0.01)
        assert allowance is None or allowance._waiting
        if how == "cut":
            line.session.cut(Reason.DEVICE)
            await trio.testing.wait_all_tasks_blocked()
            assert line.outcome == Completed(Reason.DEVICE)
        else:
            nursery.cancel_scope.cancel()
    assert allowance is None or not allowance._waiting
    assert trio.lowlevel.current_statistics().tasks_living == tasks


rhythms = st.lists(st.tuples(st.integers(1, 2_000), st.sampled_from([0.0, 0.1])), max_size=5)


@examples(60)  # a second, for each is a small world
@given(
    granted=st.sampled_from([0, 1, 50, 3_000]),
    lifted_after=st.sampled_from([0.0, 0.5, 3.0, 60.0]),
    rate=st.sampled_from([inf, 2_000.0]),
    said=st.lists(rhythms, min_size=4, max_size=4),
)
def test_no_byte_beyond_the_allowance_before_it_is_lifted_and_every_byte_in_order_after(
    granted: int, lifted_after: float, rate: float, said: list[list[tuple[int, float]]]
) -> None:
    """Two sessions of a device, each with its own rhythm both ways."""
    text = bytes(range(251)) * 50
    sent = [bytearray() for _ in said]
    heard = [bytearray() for _ in said]
    allowance = Allowance(granted)

    async def talk(stream: trio.abc.HalfCloseableStream, number: int) -> None:
        for count, pause in said[number]:
            data = text[len(sent[number]) :][:count]
            sent[number] += data
            await stream.send_all(data)
            await trio.sleep(pause)
        await stream.send_eof()

    async def listen(stream: trio.abc.HalfCloseableStream, number: int) -> None:
        while data := await stream.receive_some(700):
            heard[number] += data
            assert allowance.lifted or sum(map(len, heard)) <= granted

    async def main() -> None:
        ends: list[Callable[[], Awaitable[None]]] = []
        async with trio.open_nursery() as nursery:
            lines = [Line(nursery, allowance=allowance, down_rate=rate, up_rate=rate) for _ in range(2)]
            for line, numbers in zip(lines, ((0, 1), (2, 3)), strict=True):
                for stream, number in ((line.client, numbers[0]), (line.upstream, numbers[1])):
                    nursery.start_soon(talk, stream, number)
                    ends.append(partial(listen, stream, number ^ 1))
            for end in ends:
                nursery.start_soon(end)
            await trio.sleep(lifted_after)
            allowance.lift()
        assert [line.outcome for line in lines] == [Completed()] * 2

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [bytes(each) for each in heard] == [bytes(each) for each in sent]
    assert not allowance._waiting
