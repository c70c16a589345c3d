"""Policies that change, services that go, and sessions that move, while their bytes are paced."""

from math import inf

import pytest
import trio
from trio.testing import MockClock

from tests.support.paced import RATE, SOON, STEP, near, open_paced
from trioedge.session.verdict import Reason, Reject

pytestmark = pytest.mark.usefixtures("_fast_machine")


# Rates that change.


async def test_a_service_without_sessions_costs_nothing_when_its_policy_changes(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        for number in range(100):
            world.put(f"shop {number}", down_rate=RATE)
            world.put(f"shop {number}", down_rate=RATE / 2)
            world.remove(f"shop {number}")
        assert world.pacer.idle
        assert world.pacer.groups == {}


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
async def test_another_rate_applies_to_live_sessions_within_a_tick(autojump_clock: MockClock, factor: float) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE, up_rate=RATE)
        lines = [world.open() for _ in range(3)]
        await trio.sleep(1)
        world.put(down_rate=RATE * factor, up_rate=RATE)
        await trio.sleep(SOON)
        assert sum(line.shares[0] for line in lines) == near(RATE * factor)
        assert await world.rates(2) == (near(RATE * factor), near(RATE))


async def test_a_change_of_another_field_asks_for_no_look(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE, max_sessions=5)
        world.open(wants=0.0)
        await trio.sleep(1)
        looks = len(world.pacer.at)
        world.put(down_rate=RATE, max_sessions=6)
        assert world.pacer.idle
        await trio.sleep(1)
        assert len(world.pacer.at) == looks


async def test_a_new_rate_is_divided_among_live_sessions_at_once(autojump_clock: MockClock) -> None:
    async with open_paced(inf, inf, governed=True) as world:
        world.put()
        lines = [world.open(wants=RATE) for _ in range(8)]
        await trio.sleep(1)
        assert all(line.shares == (inf, inf) for line in lines)
        world.put(down_rate=RATE)
        await trio.sleep(STEP)
        assert [line.shares for line in lines] == [(RATE / 8, inf)] * 8
        assert await world.rates(2) == (near(RATE), near(8 * RATE))


async def test_a_rate_that_is_removed_leaves_no_limit_and_no_group(autojump_clock: MockClock) -> None:
    async with open_paced(inf, inf, governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open(wants=RATE) for _ in range(3)]
        await trio.sleep(1)
        world.put()
        await trio.sleep(SOON)
        assert [line.shares for line in lines] == [(inf, inf)] * 3
        assert await world.rates(1) == (near(3 * RATE), near(3 * RATE))
        assert world.pacer.groups == {}
        assert world.pacer.idle


async def test_the_argument_applies_where_the_policy_has_no_rate(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE / 10)
        line = world.open()
        assert line.shares == (RATE / 10, RATE / 2)
        world.put()
        await trio.sleep(SOON)
        assert line.shares == (RATE, RATE / 2)


async def test_a_rate_that_comes_and_goes_many_times_leaves_no_callback_in_a_session(autojump_clock: MockClock) -> None:
    async with open_paced(inf, inf, governed=True) as world:
        world.put()
        line = world.open()
        for _ in range(10):
            for rate in (RATE, None):
                world.put(down_rate=rate)
                await trio.sleep(SOON)
        assert line.session._follower is None
        assert not line.session.quiet
        assert line.session._deferred is None
        assert world.pacer.groups == {}


# Services that are removed.


async def test_the_group_of_a_removed_service_ends_though_its_last_sessions_live(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put()
        lines = [world.open() for _ in range(3)]
        await trio.sleep(1)
        world.remove()
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
        assert [line.session._follower for line in lines] == [None] * 3
        await trio.sleep(1)
        assert world.pacer.idle, "though their bytes move"
        for line in lines:
            world.close(line)
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
        assert world.pacer.idle


async def test_a_removed_service_with_a_debt_and_no_session_leaves_no_group(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put()
        line = world.open(wants=0.0)
        line.bytes_down = int(10 * RATE)
        world.close(line)
        await trio.sleep(SOON)
        assert world.pacer.groups == {"shop": 0}
        world.remove()
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
        assert world.pacer.idle


async def test_a_service_that_is_removed_and_named_again_divides_its_rate_among_its_new_sessions_only(
    autojump_clock: MockClock,
) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        old = [world.open() for _ in range(3)]
        await trio.sleep(1)
        world.remove()
        world.put(down_rate=RATE)
        new = world.open()
        assert new.shares[0] == RATE
        await trio.sleep(1)
        assert world.pacer.groups == {"shop": 1}
        assert await world.rates(2, new) == (near(RATE), near(RATE / 2))
        for line in old:
            world.close(line)
        await trio.sleep(SOON)
        assert await world.rates(1, new) == (near(RATE), near(RATE / 2))


async def test_a_service_that_is_removed_and_named_again_is_paced_again(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put()
        line = world.open()
        await trio.sleep(1)
        world.remove()
        world.close(line)
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
        world.put()
        world.open()
        await trio.sleep(1)
        assert await world.rates(1) == (near(RATE), near(RATE / 2))


# Sessions that move to another service.


async def test_a_session_that_no_stage_has_named_yet_has_the_rate_of_the_argument(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        session = world.session()
        world.pacer.decide(session)
        assert (session.down_rate, session.up_rate) == (RATE, RATE / 2)
        session.end(Reject(Reason.SERVICE))
        await trio.sleep(SOON)
        assert world.pacer.groups == {}


async def test_a_session_that_moves_to_another_service_shares_the_rate_of_that_one(autojump_clock: MockClock) -> None:
    async with open_paced(governed=True) as world:
        world.put("shop", down_rate=RATE)
        world.put("bank", down_rate=4 * RATE)
        stays, moves, fellow = world.open("shop"), world.open("shop"), world.open("bank")
        await trio.sleep(1)
        moves.session.service = "bank"
        await trio.sleep(2)
        assert stays.shares[0] == near(RATE)
        assert moves.shares[0] == fellow.shares[0] == near(2 * RATE)
        assert world.pacer.groups == {"shop": 1, "bank": 2}


@pytest.mark.parametrize("alone", [True, False])
async def test_a_session_that_moves_from_a_service_without_a_rate_gets_a_share(
    autojump_clock: MockClock, alone: bool
) -> None:
    async with open_paced(inf, inf, governed=True) as world:
        world.put("free")
        world.put("shop", down_rate=RATE)
        if not alone:
            world.open("shop")
        line = world.open("free")
        await trio.sleep(1)
        line.session.service = "shop"
        await trio.sleep(0.5)
        assert line.shares == (near(RATE if alone else RATE / 2), inf)


async def test_a_session_that_moves_to_a_service_without_a_rate_has_no_limit(autojump_clock: MockClock) -> None:
    async with open_paced(inf, inf, governed=True) as world:
        world.put("free")
        world.put("shop", down_rate=RATE)
        line = world.open("shop")
        await trio.sleep(1)
        line.session.service = "free"
        assert line.shares == (inf, inf), "at once"
        await trio.sleep(0.5)
        assert line.shares == (inf, inf)
        assert world.pacer.groups == {}


async def test_a_session_that_moves_and_ends_before_the_next_look_leaves_no_group(autojump_clock: MockClock) -> None:
    async with open_paced() as world:
        line = world.open("shop")
        await trio.sleep(1)
        line.session.service = "bank"
        world.close(line)
        await trio.sleep(2 * SOON)
        assert world.pacer.groups == {}
