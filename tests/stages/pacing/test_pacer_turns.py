"""Looks that do not come to their end at once: cut short, interrupted, faulty, or cancelled."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.strategies import examples
from tests.support.cancels import cancel_at_every_step
from tests.support.paced import RATE, SOON, STEP, Line, PacedWorld, near, one_step_a_slice, open_paced, whole_slices
from trioedge.stages.pacing.pacer import TICK_SECONDS
from trioedge.stages.pacing.rate_group import RateGroup


async def until_a_look_is_under_way(world: PacedWorld, steps: int = 3) -> None:
    """Wait until another look has begun, and has gone so many steps."""
    begun = len(world.pacer.at)
    with trio.fail_after(1):
        while len(world.pacer.at) == begun or world.pacer.steps < steps:
            await trio.sleep(5e-6)  # less than a rest
    assert world.pacer.looks


# A change of rates closes the look.


@pytest.mark.parametrize("steps", [1, 3, 20, 45])
async def test_a_rate_that_changes_within_a_look_closes_it_and_applies_to_every_session(
    autojump_clock: MockClock, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step_a_slice(monkeypatch)
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(200)]
        await trio.sleep(1)
        await until_a_look_is_under_way(world, steps)
        world.put(down_rate=RATE / 10)
        world.pacer.check()
        await trio.sleep(3 * SOON)
        assert sum(line.shares[0] for line in lines) == near(RATE / 10)
        assert len(world.pacer.active(lines[0].session.service)) == 200
        assert (await world.rates(2))[0] == near(RATE / 10)


async def test_another_rate_does_not_wait_for_the_end_of_a_look_that_takes_several_ticks(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(200)]
        await trio.sleep(1)
        one_step_a_slice(monkeypatch, rest=500)  # 10 ms after each step, of which there are more than 50
        await until_a_look_is_under_way(world)
        world.put(down_rate=RATE / 10)
        looks = len(world.pacer.at)
        await trio.sleep(2 * SOON)
        assert len(world.pacer.at) == looks + 1
        await trio.sleep(1)
        assert {line.shares[0] for line in lines} == {RATE / 2000}


async def test_a_rate_that_is_removed_within_a_look_leaves_no_limit(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step_a_slice(monkeypatch)
    async with open_paced(inf, inf, governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(100)]
        await trio.sleep(1)
        await until_a_look_is_under_way(world)
        world.put()
        await trio.sleep(3 * SOON)
        assert {line.shares for line in lines} == {(inf, inf)}
        assert world.pacer.groups == {}
        assert world.pacer.idle


async def test_a_service_that_is_removed_within_a_look_leaves_no_group(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step_a_slice(monkeypatch)
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(100)]
        other = world.put("bank", down_rate=RATE)
        stays = world.open("bank")
        await trio.sleep(1)
        await until_a_look_is_under_way(world)
        world.remove()
        for line in lines[:50]:
            world.close(line)
        await trio.sleep(3 * SOON)
        assert world.pacer.groups == {"bank": 1}
        assert {line.session._follower for line in lines} == {None}
        for line in lines[50:]:
            world.close(line)
        await trio.sleep(3 * SOON)
        assert world.pacer.active(other) == [stays.session]
        assert (await world.rates(1))[0] == near(RATE)


async def test_a_session_that_enters_while_its_removed_service_is_dissolved_loses_its_limit_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It got its service before the removal, and reaches the pacer behind a middleware."""
    one_step_a_slice(monkeypatch)
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(50)]
        late = world.session("shop")
        await trio.sleep(1)
        world.remove()
        await until_a_look_is_under_way(world)
        world.pacer.decide(late)
        assert late._follower is not None
        await trio.sleep(2 * SOON)
        assert world.pacer.groups == {}
        assert {session._follower for session in (late, *(line.session for line in lines))} == {None}


async def test_sessions_that_come_while_a_service_loses_its_rate_and_gets_it_back_are_paced(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They come while the limits of the others are removed, one by one."""
    one_step_a_slice(monkeypatch)
    async with open_paced(inf, inf, governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(50)]
        await trio.sleep(1)
        world.put()
        await until_a_look_is_under_way(world)
        world.put(down_rate=2 * RATE)
        lines += [world.open() for _ in range(50)]
        await trio.sleep(1)
        assert world.pacer.groups == {"shop": 100}
        assert (await world.rates(2))[0] == near(2 * RATE)


# A look that outlasts its tick.


async def test_a_look_that_outlasts_its_tick_goes_on_in_the_next(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_paced() as world:
        lines = [world.open() for _ in range(100)]
        await trio.sleep(1)
        one_step_a_slice(monkeypatch, rest=300)  # 6 ms after each step, of which there are some 30
        await trio.sleep(TICK_SECONDS)
        del world.pacer.at[:]
        for line in lines[:50]:
            world.close(line)
        began = trio.current_time()
        while len(world.pacer.at) < 2:
            await trio.sleep(STEP)
        took = world.pacer.at[1][1] - world.pacer.at[0][1]
        assert took > 1.5 * TICK_SECONDS, f"the next one began {took:.2f} s later, at {began:.2f}"
        assert {round(line.shares[0]) for line in lines[50:]} == {round(RATE / 50)}


# A fault in one service.


class FaultyLine(Line):
    """Raises when it is told its rates or asked for its queue, while `faulty`."""

    faulty: frozenset[str] = frozenset({"pace"})

    def pace(self, down_rate: float, up_rate: float) -> None:
        if "pace" in self.faulty:
            raise LookupError("bug")
        super().pace(down_rate, up_rate)

    def queued(self) -> tuple[int, int]:
        if "queued" in self.faulty:
            raise LookupError("bug")
        return super().queued()


@pytest.mark.usefixtures("_fast_machine")
@pytest.mark.parametrize("method", ["pace", "queued"])
async def test_a_fault_in_one_service_is_logged_and_the_others_are_paced_as_before(
    autojump_clock: MockClock, method: str
) -> None:
    async with open_paced() as world:
        faulty, first = world.open("bad", line=FaultyLine), world.open("good")
        assert isinstance(faulty, FaultyLine)
        faulty.faulty = frozenset()
        await trio.sleep(0.5)
        faulty.faulty = frozenset({method})
        with capture_logs() as logs:
            in_bad, in_good = world.open("bad"), world.open("good")
            await trio.sleep(SOON)
            assert first.shares == (near(RATE / 2), near(RATE / 4))
            assert await world.rates(2, first, in_good) == (near(RATE), near(RATE / 2))
        assert {(entry["event"], entry["log_level"], entry["service"]) for entry in logs} == {
            ("pacing failed", "error", "bad")
        }
        assert isinstance(logs[0]["exc_info"], LookupError)
        assert len(logs) <= 3, "once a second"
        world.pacer.check()
        looks = len(world.pacer.at)
        await trio.sleep(1)
        assert len(world.pacer.at) - looks <= 2 * 1.0 / TICK_SECONDS + 2, "once a tick for each of the two services"
        faulty.faulty = frozenset()
        await trio.sleep(5)  # until the debt of that time is repaid
        assert await world.rates(2, faulty, in_bad) == (near(RATE), near(RATE / 2))


@pytest.mark.usefixtures("_fast_machine")
async def test_a_service_whose_look_raises_leaves_no_group_once_its_sessions_have_ended(
    autojump_clock: MockClock,
) -> None:
    async with open_paced(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open(line=FaultyLine), world.open()]
        with capture_logs() as logs:
            await trio.sleep(1)
        assert {entry["event"] for entry in logs} == {"pacing failed"}
        world.remove()
        for line in lines:
            world.close(line)
        await trio.sleep(SOON)
        assert world.pacer.groups == {}
        assert world.pacer.idle


@pytest.mark.usefixtures("_fast_machine")
async def test_a_fault_before_the_first_step_of_a_look_is_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_paced() as world:
        line = world.open()
        await trio.sleep(1)

        def observe(group: RateGroup, now: float) -> Any:
            raise LookupError("bug")

        with monkeypatch.context() as broken, capture_logs() as logs:
            broken.setattr(RateGroup, "observe", observe)
            world.open()
            await trio.sleep(1)
        assert logs[0]["event"] == "pacing failed"
        await trio.sleep(5)  # until the debt of that time is repaid
        assert line.shares == (near(RATE / 2), near(RATE / 4))


# Cancelled.


@pytest.mark.usefixtures("_fast_machine")
@pytest.mark.parametrize(
    "after",
    [
        pytest.param(0.0, id="before the first look"),
        pytest.param(STEP, id="between two ticks"),
        pytest.param(1.05, id="while bytes move"),
    ],
)
async def test_a_cancel_leaves_the_shares_as_they_were_and_no_task(autojump_clock: MockClock, after: float) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_paced() as world:
        lines = [world.open(), world.open()]
        await trio.sleep(after)
    shares = [line.shares for line in lines]
    await trio.sleep(1)
    assert [line.shares for line in lines] == shares
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_cancel_between_two_slices_leaves_a_look_that_another_run_ends(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some sessions have their new share then, the others the one before."""
    whole_slices(monkeypatch)
    world = PacedWorld(RATE, RATE, governed=True)
    world.put(down_rate=RATE)
    lines = [world.open() for _ in range(20)]
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pacer.run)
        await trio.sleep(1)
        assert {line.shares[0] for line in lines} == {RATE / 20}
        one_step_a_slice(monkeypatch)
        world.put(down_rate=RATE / 10)
        with trio.fail_after(1):
            while len({line.shares[0] for line in lines}) == 1:
                await trio.sleep(5e-6)
        nursery.cancel_scope.cancel()
    assert {line.shares[0] for line in lines} == {RATE / 20, RATE / 200}
    world.pacer.check()
    assert world.pacer.looks == ["shop"]
    async with trio.open_nursery() as nursery:
        world.pacer.mark_dirty(lines[0].session.service)
        await nursery.start(world.pacer.run)
        await trio.sleep(2 * SOON)
        assert {line.shares[0] for line in lines} == {RATE / 200}
        nursery.cancel_scope.cancel()


async def test_a_cancel_at_every_step_leaves_the_invariants(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_step_a_slice(monkeypatch)
    worlds: list[PacedWorld] = []

    async def act() -> None:
        world = PacedWorld(RATE, RATE, governed=True)
        worlds.append(world)
        for name in ("shop", "bank"):
            world.put(name, down_rate=RATE)
            for _ in range(9):
                world.open(name)
        with trio.move_on_after(2 * TICK_SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(world.pacer.run)
                await trio.sleep(TICK_SECONDS / 2)
                world.put(down_rate=RATE / 10)

    assert await cancel_at_every_step(act, lambda: worlds[-1].pacer.check()) > 20


# Anything in any order.

names = st.sampled_from(["shop", "bank"])
rates = st.sampled_from([None, RATE, RATE / 10])
numbers = st.integers(0, 100)

changes: st.SearchStrategy[Callable[[PacedWorld], object]] = st.one_of(
    st.builds(lambda name, rate: lambda world: world.put(name, down_rate=rate), names, rates),
    st.builds(lambda name: partial(_remove, name=name), names),
    st.builds(lambda name, greedy: partial(_open, name=name, wants=inf if greedy else 0.0), names, st.booleans()),
    st.builds(lambda number: partial(_close, number=number), numbers),
    st.builds(lambda number, name: partial(_move, number=number, name=name), numbers, names),
)
"""What a snapshot, a client or a stage may do."""


def _open(world: PacedWorld, name: str, wants: float) -> None:
    if world.services.get(name) is not None:
        world.open(name, wants=wants)


def _close(world: PacedWorld, number: int) -> None:
    if world.lines:
        world.close(world.lines[number % len(world.lines)])


def _move(world: PacedWorld, number: int, name: str) -> None:
    if world.lines:
        world.lines[number % len(world.lines)].session.service = name


def _remove(world: PacedWorld, name: str) -> None:
    """Remove a service, and cut its sessions, as a snapshot does."""
    service = world.services.get(name)
    if service is not None:
        world.remove(name)
        for line in tuple(world.lines):
            if line.session.service is service:
                world.close(line)


@examples(60)
@given(st.lists(st.tuples(changes, st.sampled_from([0.0, 1e-4, 1e-3, 0.05, 0.3])), max_size=25))
def test_after_any_changes_every_service_has_its_rate_and_no_group_is_left(
    history: list[tuple[Callable[[PacedWorld], object], float]],
) -> None:
    """Each step is a slice of its own, so the changes fall between the steps of looks."""

    async def live() -> None:
        async with open_paced(inf, inf, governed=True) as world:
            world.put("shop")
            world.put("bank", down_rate=RATE)
            for change, seconds in history:
                change(world)
                await trio.sleep(seconds)
            await trio.sleep(8)  # until every debt is repaid and every demand has faded
            for service in world.services:
                lines = [line for line in world.lines if line.session.service is service]
                rate = service.policy.down_rate
                if rate is None:
                    assert {line.shares for line in lines} <= {(inf, inf)}
                elif any(line.wants[0] for line in lines):
                    assert (await world.rates(2, *lines))[0] == near(rate)
                else:
                    assert {line.shares[0] for line in lines} <= {rate / max(1, len(lines))}
            paced = {line.session.service.name for line in world.lines if line.session.policy.down_rate is not None}
            assert world.pacer.groups.keys() == paced

    with pytest.MonkeyPatch.context() as monkeypatch:
        one_step_a_slice(monkeypatch)
        trio.run(live, clock=MockClock(autojump_threshold=0))
