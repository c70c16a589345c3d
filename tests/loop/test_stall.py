import time

import pytest
import trio

from trioedge.loop.stall import LOOK_SECONDS, WINDOW_SECONDS, LoopStall


def test_before_the_first_look_no_stall_is_known() -> None:
    assert LoopStall().recent(5.0) == 0.0


def test_the_longest_stall_of_the_last_minute_is_given() -> None:
    stall = LoopStall()
    for now, late in ((0.0, 0.2), (10.0, 0.5), (20.0, 0.1), (30.0, 0.3)):
        stall.add(late, now)
    assert stall.recent(30.0) == 0.5
    assert stall.recent(10.0 + WINDOW_SECONDS) == 0.5
    assert stall.recent(10.1 + WINDOW_SECONDS) == 0.3
    assert stall.recent(30.1 + WINDOW_SECONDS) == 0.0
    assert (stall.seconds.count, stall.seconds.max) == (4, 0.5)


def test_equal_stalls_of_a_whole_day_take_no_memory() -> None:
    stall = LoopStall()
    for look in range(10_000):
        stall.add(0.001, look * LOOK_SECONDS)
    assert len(stall._longest) == 1


async def test_an_idle_loop_is_on_time(autojump_clock: trio.testing.MockClock) -> None:
    stall = LoopStall()
    with trio.move_on_after(100 * LOOK_SECONDS + 0.01):
        await stall.run()
    assert stall.seconds.count == 100
    assert stall.seconds.max == pytest.approx(0, abs=1e-6)


async def test_a_call_that_blocks_is_seen() -> None:
    stall = LoopStall()
    async with trio.open_nursery() as nursery:
        await nursery.start(stall.run)
        await trio.testing.wait_all_tasks_blocked()
        time.sleep(2 * LOOK_SECONDS)  # noqa: ASYNC251 - this is what it is to see
        while not stall.seconds.count:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert stall.recent(trio.current_time()) > LOOK_SECONDS / 2


async def test_after_a_cancel_it_looks_no_more(autojump_clock: trio.testing.MockClock) -> None:
    stall = LoopStall()
    async with trio.open_nursery() as nursery:
        await nursery.start(stall.run)
        await trio.sleep(LOOK_SECONDS * 1.5)
        nursery.cancel_scope.cancel()
    seen = stall.seconds.count
    await trio.sleep(10)
    assert stall.seconds.count == seen == 1
