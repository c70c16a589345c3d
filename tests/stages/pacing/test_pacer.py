"""The shares of sessions over time, with a kernel in memory."""

from collections import Counter
from itertools import pairwise
from math import inf

import pytest
import trio
from trio.testing import MockClock

from tests.support.paced import RATE, SOON, STEP, near, one_step_a_slice, open_paced
from trioedge.session.verdict import Reason, Reject
from trioedge.stages.pacing.pacer import TICK_SECONDS
from trioedge.testing import check_decision

pytestmark = pytest.mark.usefixtures("_fast_machine")


# One rate over all sessions of a service.


@pytest.mark.parametrize("flows", [1, 2, 8, 40])
async def test_the_rate_of_a_service_is_the_sum_over_its_sessions(autojump_clock: MockClock, flows: int) -> None:
    async with open_paced() as world:
        for _ in range(flows):
            world.open()
        await trio.sleep(0.5)
        assert await world.rates(3) == (near(RATE), near(RATE / 2))


async def test_a_kernel_that_exceeds_its_shares_by_16_percent_is_kept_to_the_rate(autojump_clock: MockClock) -> None:
    async with open_paced(excess=1.16) as world:
        for _ in range(3):
            world.open()
        await trio.sleep(2)
        assert await world.rates(5) == (near(RATE), near(RATE / 2))


async def test_each_service_has_a_rate_of_its_own(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        shop, bank = [world.open("shop"), world.open("shop")], world.open("bank")
        await trio.sleep(0.5)
        assert await world.rates(2, *shop) == (near(RATE), near(RATE / 2))
        assert await world.rates(2, bank) == (near(RATE), near(RATE / 2))


async def test_the_rate_that_a_light_session_does_not_use_goes_to_the_others(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        greedy = [world.open(), world.open()]
        light = world.open(wants=RATE / 20)
        await trio.sleep(1)
        assert await world.rates(2, light) == (near(RATE / 20), near(RATE / 20))
        down, _ = await world.rates(2, *greedy)
        assert 0.9 * RATE < down < RATE


@pytest.mark.parametrize("way", [0, 1])
async def test_the_two_directions_are_divided_independently(autojump_clock: MockClock, way: int) -> None:
    async with open_paced(RATE, RATE) as world:
        one, other = world.open(), world.open()
        one.wants, other.wants = (inf, 0.0), (0.0, inf)
        if way:
            one, other = other, one
        await trio.sleep(1)
        assert (await world.rates(1, one))[way] == near(RATE)
        assert (await world.rates(1, other))[1 - way] == near(RATE)


# Shares follow the bytes, at most every 0.1 s.


async def test_a_new_session_has_an_equal_share_at_once_and_the_others_have_theirs_within_a_tick(
    autojump_clock: MockClock,
) -> None:
    async with open_paced() as world:
        first = world.open()
        assert first.shares == (RATE, RATE / 2)
        await trio.sleep(1)
        second = world.open()
        assert second.shares == (RATE / 2, RATE / 4)
        await trio.sleep(SOON)
        assert first.shares == (near(RATE / 2), near(RATE / 4))


async def test_the_share_of_a_session_that_ends_goes_to_the_others_within_a_tick(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        first, second = world.open(), world.open()
        await trio.sleep(1)
        assert first.shares == (near(RATE / 2), near(RATE / 4))
        world.close(second)
        await trio.sleep(SOON)
        assert first.shares == (near(RATE), near(RATE / 2))


async def test_a_silent_session_lends_its_share_and_has_it_back_when_its_bytes_move(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        first, second = world.open(), world.open()
        await trio.sleep(1)
        second.wants = (0.0, 0.0)
        await trio.sleep(2)
        assert first.shares[0] > 0.9 * RATE
        second.wants = (inf, inf)
        await trio.sleep(2 * SOON)
        assert first.shares == (near(RATE / 2), near(RATE / 4))
        assert second.shares == (near(RATE / 2), near(RATE / 4))


async def test_however_many_sessions_come_and_go_a_service_is_looked_at_once_a_tick(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        for _ in range(200):
            line = world.open()
            await trio.sleep(STEP / 2)
            if len(world.lines) > 3:
                world.close(line)
    moments = sorted({at for _, at in world.pacer.at})
    assert 8 <= len(moments) <= 12
    assert min(later - earlier for earlier, later in pairwise(moments)) >= TICK_SECONDS - 1e-9


async def test_after_a_silence_the_first_look_is_at_once(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        line = world.open(wants=0.0)
        await trio.sleep(60)
        assert world.pacer.idle
        world.put(down_rate=RATE / 100)
        await trio.sleep(STEP)
        assert line.shares[0] == RATE / 100


async def test_silent_sessions_are_not_looked_at_until_the_first_byte(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        line, never = world.open(), world.open(wants=0.0)
        await trio.sleep(1)
        line.wants = (0.0, 0.0)
        await trio.sleep(60)
        looks = len(world.pacer.at)
        assert world.pacer.idle
        await trio.sleep(600)
        assert len(world.pacer.at) == looks
        line.wants = (inf, inf)
        await trio.sleep(2)
        assert len(world.pacer.at) > looks + 5
        assert await world.rates(2) == (near(RATE), near(RATE / 2))
        assert never.asked == 0, "the kernel is not asked about a session that moved no byte"


async def test_a_busy_service_costs_no_look_at_idle_services(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        for number in range(20):
            world.open(f"idle {number}", wants=0.0)
        world.open("busy")
        await trio.sleep(10)
        del world.pacer.at[:]
        await trio.sleep(5)
        assert {service for service, _ in world.pacer.at} == {"busy"}


async def test_the_kernel_is_not_told_a_share_that_it_has_already(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        lines = [world.open() for _ in range(4)]
        await trio.sleep(2)
        told = [len(line.paced) for line in lines]
        await trio.sleep(10)
        assert [len(line.paced) for line in lines] == told


async def test_a_tick_looks_at_the_sessions_whose_bytes_move_and_at_no_other(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        for _ in range(50):
            world.open(wants=0.0)
        busy = world.open()
        await trio.sleep(1)
        service = busy.session.service
        assert world.pacer.active(service) == [busy.session]
        busy.wants = (0.0, 0.0)
        await trio.sleep(20)
        assert world.pacer.active(service) == []
        assert world.pacer.idle


async def test_silent_sessions_get_another_equal_share_without_being_looked_at(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        silent = world.open(wants=0.0)
        await trio.sleep(1)
        others = [world.open(wants=0.0) for _ in range(3)]
        await trio.sleep(SOON)
        assert silent.shares == (RATE / 4, RATE / 8)
        for line in others:
            world.close(line)
        await trio.sleep(SOON)
        assert silent.shares == (RATE, RATE / 2)
        assert silent.asked == 0


async def test_a_small_service_does_not_wait_for_a_large_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rest of some milliseconds after each step, so that a look at the large service takes a second."""
    async with open_paced() as world:
        for _ in range(100):
            world.open("large")
        world.open("small")
        await trio.sleep(0.5)
        one_step_a_slice(monkeypatch, rest=100)
        monkeypatch.setattr("trioedge.stages.pacing.rate_group.SESSIONS_PER_STEP", 1)
        await trio.sleep(0.1)
        del world.pacer.at[:]
        await trio.sleep(3)
        looks = Counter(name for name, _ in world.pacer.at)
    assert looks["small"] >= 25
    assert 1 <= looks["large"] <= 8, "while its own go on from tick to tick"


# Sessions that come and go between two looks.


async def test_the_bytes_of_short_sessions_are_charged_to_the_service(autojump_clock: MockClock) -> None:
    """Each moves what the kernel does not pace at first, and ends before the next look."""
    async with open_paced() as world:
        stays = world.open()
        await trio.sleep(1)
        for _ in range(5):
            short = world.open(wants=0.0)
            short.bytes_down = 40_000
            world.close(short)
        await trio.sleep(SOON)
        assert stays.shares[0] == pytest.approx(RATE - 200_000, rel=0.1)
        await trio.sleep(3)
        assert stays.shares == (near(RATE), near(RATE / 2))


async def test_a_debt_outlives_the_last_session_until_it_is_repaid(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        for _ in range(4):
            short = world.open(wants=0.0)
            short.bytes_down = int(RATE / 4)
            world.close(short)
        await trio.sleep(SOON)
        assert world.open(wants=0.0).shares[0] < 0.8 * RATE
        world.close(world.lines[0])
        await trio.sleep(2)
        assert world.pacer.groups == {}
        assert world.open(wants=0.0).shares[0] == RATE


async def test_a_session_that_a_later_decision_refuses_takes_no_share(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        for _ in range(100):
            world.decided().end(Reject(Reason.POLICY))
        assert world.open().shares == (RATE, RATE / 2)
        await trio.sleep(SOON)
        assert world.pacer.groups == {"shop": 1}
        for _ in range(3):
            world.decided("bank").end(Reject(Reason.POLICY))
        await trio.sleep(SOON)
        assert world.pacer.groups == {"shop": 1}


async def test_the_group_of_a_service_ends_with_its_last_session(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        lines = [world.open() for _ in range(3)]
        await trio.sleep(1)
        for line in lines:
            world.close(line)
        await trio.sleep(2 * SOON)
        assert world.pacer.groups == {}
        assert world.pacer.idle


async def test_the_pacer_is_a_decision_that_always_continues(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        check_decision(world.pacer, [world.session("shop"), world.session("bank", source="unix")])
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
