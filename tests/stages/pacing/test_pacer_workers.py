"""Pacers of several workers over one memory, each with a kernel in memory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.paced import RATE, SOON, PacedWorld, near, open_paced
from tests.support.shared_memory import make_limits
from trioedge.stages.pacing.parts import STALE_SECONDS
from trioedge.structures.shared.limits import SharedLimits

pytestmark = pytest.mark.usefixtures("_fast_machine")


@asynccontextmanager
async def open_workers(
    count: int, memory: SharedLimits | None = None, *, apart: float = 0.037, **options: Any
) -> AsyncIterator[list[PacedWorld]]:
    """Run so many workers, whose ticks are apart."""
    memory = memory or make_limits()
    async with AsyncExitStack() as stack:
        worlds = []
        for column in range(count):
            worlds.append(await stack.enter_async_context(open_paced(limits=memory.of("edge", column, 1.5), **options)))
            await trio.sleep(apart)
        yield worlds


async def rates(worlds: list[PacedWorld], seconds: float) -> tuple[float, float]:
    """Measure what all workers move down and up, in bytes a second."""
    before = [(line.bytes_down, line.bytes_up) for world in worlds for line in world.lines]
    lines = [line for world in worlds for line in world.lines]
    await trio.sleep(seconds)
    moved = [(line.bytes_down - down, line.bytes_up - up) for line, (down, up) in zip(lines, before, strict=True)]
    return sum(down for down, _ in moved) / seconds, sum(up for _, up in moved) / seconds


@pytest.mark.parametrize("flows", [(8, 0), (5, 3), (4, 4), (7, 1), (1, 1, 1, 5)])
async def test_the_rate_is_the_sum_over_the_sessions_of_all_workers_and_each_has_an_equal_share(
    autojump_clock: MockClock, flows: tuple[int, ...]
) -> None:
    async with open_workers(len(flows)) as worlds:
        for world, count in zip(worlds, flows, strict=True):
            for _ in range(count):
                world.open()
        await trio.sleep(3)
        assert await rates(worlds, 3) == (near(RATE), near(RATE / 2))
        for world in worlds:
            for line in world.lines:
                assert line.shares == (near(RATE / 8), near(RATE / 16))


async def test_from_the_first_second_on_workers_move_no_more_than_the_rate_and_what_waking_sessions_may(
    autojump_clock: MockClock,
) -> None:
    async with open_workers(2) as worlds:
        worlds[0].open()
        await trio.sleep(2)
        for _ in range(4):
            worlds[1].open()
        down, up = await rates(worlds, 1)
        assert down <= 1.17 * RATE
        assert up <= 1.17 * RATE / 2
        assert await rates(worlds, 4) == (near(RATE), near(RATE / 2))


@pytest.mark.parametrize("excess", [0.9, 1.16])
async def test_a_kernel_that_keeps_its_shares_badly_is_kept_to_the_rate_over_all_workers(
    autojump_clock: MockClock, excess: float
) -> None:
    async with open_workers(2, excess=excess) as worlds:
        for world, count in zip(worlds, (5, 3), strict=True):
            for _ in range(count):
                world.open()
        await trio.sleep(3)
        assert await rates(worlds, 5) == (near(min(1, excess) * RATE), near(min(1, excess) * RATE / 2))


async def test_what_a_light_session_of_one_worker_does_not_use_goes_to_the_sessions_of_another(
    autojump_clock: MockClock,
) -> None:
    async with open_workers(2) as worlds:
        worlds[0].open(wants=RATE / 20)
        greedy = worlds[1].open()
        await trio.sleep(2)
        down, _ = await worlds[1].rates(2, greedy)
        assert 0.9 * RATE < down < 0.96 * RATE


async def test_the_only_session_whose_bytes_move_has_the_whole_rate_within_three_ticks(
    autojump_clock: MockClock,
) -> None:
    async with open_workers(3) as worlds:
        lines = [world.open() for world in worlds]
        await trio.sleep(3)
        worlds[0].close(lines[0])
        lines[1].wants = 0.0, 0.0
        await trio.sleep(2)
        assert lines[2].shares == (near(RATE), near(RATE / 2))
        assert not worlds[1].pacer.looks
        lines[1].wants = inf, inf
        await trio.sleep(3 * SOON)
        assert lines[1].shares[0] == pytest.approx(RATE / 2, rel=0.15)
        await trio.sleep(3)
        assert [line.shares[0] for line in lines[1:]] == [near(RATE / 2), near(RATE / 2)]


async def test_a_silent_service_is_not_looked_at_though_another_worker_moves_its_bytes(
    autojump_clock: MockClock,
) -> None:
    async with open_workers(2) as worlds:
        worlds[0].open(wants=0.0)
        worlds[1].open()
        await trio.sleep(30)
        looks = len(worlds[0].pacer.at)
        assert worlds[0].pacer.idle
        await trio.sleep(60)
        assert len(worlds[0].pacer.at) == looks
        assert (await rates(worlds, 1))[0] == near(RATE)


async def test_a_new_session_has_an_equal_share_of_those_in_all_workers(autojump_clock: MockClock) -> None:
    async with open_workers(2) as worlds:
        for _ in range(3):
            worlds[0].open(wants=0.0)
        await trio.sleep(1)
        assert worlds[1].open().shares == (RATE / 4, RATE / 8)


async def test_the_part_of_a_worker_that_died_is_free_when_its_column_is_and_without_that_after_a_second(
    autojump_clock: MockClock,
) -> None:
    memory = make_limits()
    async with open_workers(1, memory) as (world,):
        for column in (1, 2):
            async with open_paced(limits=memory.of("edge", column, 1.5)) as other:
                other.open()
                await trio.sleep(1)
        line = world.open()
        memory.release(1)
        await trio.sleep(0.5)
        assert line.shares[0] < 0.8 * RATE
        await trio.sleep(STALE_SECONDS + 1.5)
        assert line.shares[0] == near(RATE)


async def test_changed_rates_apply_in_every_worker_within_three_ticks(autojump_clock: MockClock) -> None:
    async with open_workers(2, governed=True, down_rate=inf, up_rate=inf) as worlds:
        for world in worlds:
            world.put(down_rate=RATE, up_rate=RATE)
            world.open()
        await trio.sleep(2)
        assert await rates(worlds, 2) == (near(RATE), near(RATE))
        for world in worlds:
            world.put(down_rate=RATE / 10, up_rate=2 * RATE)
        await trio.sleep(3 * SOON)
        assert await rates(worlds, 2) == (near(RATE / 10), near(2 * RATE))
        for world in worlds:
            world.put()
        await trio.sleep(SOON)
        assert [line.shares for world in worlds for line in world.lines] == [(inf, inf), (inf, inf)]


async def test_a_worker_leaves_the_row_with_its_last_session(autojump_clock: MockClock) -> None:
    memory = make_limits()
    async with open_workers(2, memory) as worlds:
        lines = [world.open() for world in worlds]
        await trio.sleep(2)
        for world, line in zip(worlds, lines, strict=True):
            world.close(line)
        await trio.sleep(20)
        assert memory.of("edge", 7, 1.5).rate("shop").others(trio.current_time(), inf) == ([], [], 0)
        assert [world.pacer.groups for world in worlds] == [{}, {}]


async def test_where_no_row_is_left_every_worker_takes_a_fixed_part_so_that_the_rate_is_never_exceeded(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.structures.shared.limits.RATE_ROWS", 16)
    memory = make_limits()
    async with open_workers(2, memory) as worlds:
        for number in range(16):
            worlds[0].open(f"other{number}", wants=0.0)
        await trio.sleep(1)
        lines = [world.open() for world in worlds]
        await trio.sleep(8)
        assert [line.shares[0] for line in lines] == [near(RATE / 8)] * 2
