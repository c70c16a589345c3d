from collections.abc import Callable

import pytest
import trio
import trio.testing

from tests.wires import receive_all
from trioedge.core.session import Session
from trioedge.core.verdict import Completed, Outcome, Reason
from trioedge.runtime.relay import Meter
from trioedge.runtime.stream_relay import StreamRelay
from trioedge.testing import make_session

MakePair = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]


class Line:
    """A client and an upstream in memory, with a relay between them."""

    def __init__(self, nursery: trio.Nursery, pair: MakePair = trio.testing.memory_stream_pair) -> None:
        self.client, self._down = pair()
        self.upstream, self._up = pair()
        self.session: Session = make_session(now=trio.current_time())
        self.relay = StreamRelay(self.session)
        self.session.carrier = self.relay
        self.meters = (Meter(), Meter())
        self.outcome: Outcome | None = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            self.outcome = await self.relay.run(self._down, self._up, self.meters)
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
