"""The bounds of what waits, and cancels, under a fake clock without threads."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trioedge as te
from sessions import batch_of, ended
from structlog.testing import capture_logs
from trio.testing import MockClock
from trioedge.testing.cancels import cancel_before

from trioedge_otel.live import EXPORT_SECONDS, LAST_SECONDS, MAX_SPANS, SAY_SECONDS, LiveOtel
from trioedge_otel.outline import Outline
from trioedge_otel.sink import Sink


class Sent(Sink):
    """Keeps what it gets, and answers as told."""

    def __init__(self, why: str = "", seconds: float = 0.0) -> None:
        self.calls: list[int] = []
        self.times: list[float] = []
        self.why, self.seconds = why, seconds
        self.closed = 0

    def send(self, outlines: Sequence[Outline]) -> str:
        self.calls.append(len(outlines))
        self.times.append(trio.current_time())
        return self.why

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake clock would not wait for a thread: its work is done at once, after the seconds of its sink."""

    async def run_sync(function: Any, *arguments: Any, **_: Any) -> Any:
        await trio.sleep(function.__self__.seconds)
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


def live(sink: Sink, seconds: float = 5.0, sample: float = 1.0) -> LiveOtel:
    return LiveOtel(sink, sample, seconds, te.EdgeLog())


async def observe(otel: LiveOtel, count: int, first: int = 1) -> None:
    await otel.observe(batch_of(*(ended(first + number) for number in range(count))))


async def test_spans_of_some_seconds_are_one_export_and_an_idle_one_exports_nothing(
    autojump_clock: MockClock,
) -> None:
    sink = Sent()
    otel = live(sink)
    async with trio.open_nursery() as nursery:
        await nursery.start(otel.run)
        await trio.sleep(100)
        await observe(otel, 2)
        await trio.sleep(1)
        await observe(otel, 3)
        await trio.sleep(100)
        await observe(otel, 1)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert (sink.calls, sink.times) == ([5, 1], [105, 202])
    assert otel.lost == 0


async def test_more_than_an_export_has_are_lost_and_counted(autojump_clock: MockClock) -> None:
    sink = Sent()
    otel = live(sink)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(otel.run)
            for _ in range(3):
                await observe(otel, 300)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert (sink.calls, otel.lost) == ([MAX_SPANS], 900 - MAX_SPANS)
    (lost,) = logs
    assert (lost["count"], lost["why"]) == (388, "more than 512 in 5 s: a smaller sample has fewer")


async def test_losses_are_said_once_a_minute_and_at_the_end(autojump_clock: MockClock) -> None:
    sink = Sent("no route")
    otel = live(sink)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(otel.run)
            for _ in range(150):
                await observe(otel, 1)
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert sum(entry["count"] for entry in logs) == otel.lost == 150
    assert 3 <= len(logs) <= 150 / SAY_SECONDS + 2
    assert {entry["why"] for entry in logs} == {"no route"}


async def test_an_export_without_an_end_is_given_up_and_what_came_meanwhile_is_exported(
    autojump_clock: MockClock,
) -> None:
    sink = Sent(seconds=1_000)
    otel = live(sink)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(otel.run)
            await observe(otel, 7)
            await trio.sleep(6)
            sink.seconds = 0
            await observe(otel, 2)
            await trio.sleep(EXPORT_SECONDS + 10)
            nursery.cancel_scope.cancel()
    assert (sink.calls, otel.lost) == ([2], 7)
    assert logs[0]["why"] == "no answer within 30 s"


async def test_the_end_waits_half_a_second_at_most(autojump_clock: MockClock) -> None:
    otel = live(Sent(seconds=1_000))
    with capture_logs():
        async with trio.open_nursery() as nursery:
            await nursery.start(otel.run)
            await observe(otel, 7)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert (trio.current_time(), otel.lost) == (1 + LAST_SECONDS, 7)


@pytest.mark.parametrize("why", ["", "no route"])
async def test_a_cancel_before_any_step_sends_each_span_once_or_counts_it(why: str, autojump_clock: MockClock) -> None:
    for step in range(1, 200):
        sink, made = Sent(why, seconds=0.1), 0
        otel = live(sink, seconds=0.2)
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter, capture_logs():
            async with trio.open_nursery() as nursery:
                await nursery.start(otel.run)
                for _ in range(5):
                    made += 1
                    await observe(otel, 1)
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        assert (otel.lost if why else sum(sink.calls) + otel.lost) == made
        if not counter.reached:
            break
    assert 5 < step < 199


async def test_a_batch_of_a_flood_lets_other_tasks_run(autojump_clock: MockClock) -> None:
    otel, turns = live(Sent()), 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await observe(otel, 500)
        nursery.cancel_scope.cancel()
    assert turns >= 5


def test_its_sink_is_closed_with_it() -> None:
    sink = Sent()
    live(sink).close()
    assert sink.closed == 1
