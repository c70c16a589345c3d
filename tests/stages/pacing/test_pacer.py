"""The pacer over sessions that a make-believe kernel carries: it gives each what it was told, or a little more."""

from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from itertools import count, pairwise
from math import inf

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.strategies import make_session
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.services import Services, diff
from trioedge.services.snapshot import Snapshot
from trioedge.session.meter import Meter, Total
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.stages.pacing.pacer import TICK_SECONDS, Pacer
from trioedge.telemetry.observer import Observer

RATE = 1_000_000.0
STEP = 0.01


@pytest.fixture(autouse=True)
def fast_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look fits into a slice, for rests would follow the machine's clock and not the test's."""
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", inf)


SOON = TICK_SECONDS + STEP
"""By when a change holds."""


class Line:
    """A session's carrier. It moves `wants` bytes a second each way, or as many as it was told."""

    phase = "relaying"
    pacing = "kernel"
    began_at = 0.0

    def __init__(self, session: Session, wants: float, excess: float) -> None:
        self.session = session
        self.wants = (wants, wants)
        self.excess = excess
        self.bytes_down = self.bytes_up = 0
        self.told: list[tuple[float, float, float]] = []
        self.asked = 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        self.told.append((trio.current_time(), down_rate, up_rate))

    def queued(self) -> tuple[int, int]:
        self.asked += 1
        return 0, 0

    def count_by(self, meters: tuple[Meter, Meter]) -> None: ...

    def cut(self, reason: Reason) -> None: ...

    @property
    def shares(self) -> tuple[float, float]:
        return self.session.down_rate, self.session.up_rate


class Looks(Pacer):
    """Counts how often a service is looked at, and when."""

    def __init__(self, services: Services, live: Registry, down_rate: float, up_rate: float) -> None:
        super().__init__(services, live, Observer(), down_rate, up_rate)
        self.at: list[tuple[str, float]] = []

    def _look(self, name: str) -> Generator[None, None, None]:
        self.at.append((name, trio.current_time()))
        return super()._look(name)


class World:
    """Services, their sessions, and a kernel."""

    def __init__(self, down_rate: float, up_rate: float, *, governed: bool, excess: float) -> None:
        self.services = Services(Total(), Total(), governed=governed)
        self.live = Registry(self.services)
        self.pacer = Looks(self.services, self.live, down_rate, up_rate)
        self.services.watch(self.pacer)
        self.services.on_traffic.append(self.pacer.woke)
        self.lines: list[Line] = []
        self._excess = excess
        self._ids = count(1)

    def put(self, name: str = "shop", *, down_rate: float | None = None, up_rate: float | None = None) -> None:
        policy = Policy(down_rate=down_rate, up_rate=up_rate)
        snapshot = Snapshot({name: Settings(policy)}, full=False)
        for change in diff(self.services, snapshot):
            if change is not None:
                for _ in self.services.tell(self.services.apply(change, None), change):
                    pass

    def remove(self, name: str = "shop") -> None:
        for change in diff(self.services, Snapshot({}, frozenset({name}), full=False)):
            assert change is not None
            for _ in self.services.tell(self.services.apply(change, None), change):
                pass

    def decide(self, service: str = "shop") -> Session:
        """A session as it is before it is let in."""
        session = make_session(id=next(self._ids), service=service, started_at=trio.current_time())
        self.pacer.join(session)
        return session

    def open(self, service: str = "shop", *, wants: float = inf) -> Line:
        session = self.decide(service)
        self.live.add(session)
        session.carrier = line = Line(session, wants, self._excess)
        self.lines.append(line)
        return line

    def close(self, line: Line) -> None:
        self.lines.remove(line)
        self.live.remove(line.session)
        line.session.end(Completed())

    async def kernel(self) -> None:
        while True:
            await trio.sleep(STEP if any(any(line.wants) for line in self.lines) else 1.0)
            for line in tuple(self.lines):
                down, up = (
                    min(1e9, wants, line.excess * share) * STEP
                    for wants, share in zip(line.wants, line.shares, strict=True)
                )
                up_meter, down_meter = self.services.meters(line.session.service)
                line.bytes_down += int(down)
                line.bytes_up += int(up)
                for meter, moved in ((up_meter, int(up)), (down_meter, int(down))):
                    if moved:
                        meter.add(moved)
                        if line.session.quiet:
                            line.session.wake()

    async def rates(self, seconds: float, *lines: Line) -> tuple[float, float]:
        """Measure what these, or all that live now, move each way, in bytes a second."""
        lines = lines or tuple(self.lines)
        before = [(line.bytes_down, line.bytes_up) for line in lines]
        began = trio.current_time()
        await trio.sleep(seconds)
        took = trio.current_time() - began
        moved = [(line.bytes_down - down, line.bytes_up - up) for line, (down, up) in zip(lines, before, strict=True)]
        return sum(down for down, _ in moved) / took, sum(up for _, up in moved) / took


@asynccontextmanager
async def open_world(
    down_rate: float = RATE, up_rate: float = RATE / 2, *, governed: bool = False, excess: float = 1.0
) -> AsyncIterator[World]:
    world = World(down_rate, up_rate, governed=governed, excess=excess)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pacer.run)
        nursery.start_soon(world.kernel)
        yield world
        nursery.cancel_scope.cancel()


def near(rate: float) -> object:
    return pytest.approx(rate, rel=0.04)


# One rate over all sessions.


@pytest.mark.parametrize("flows", [1, 2, 8, 40])
async def test_a_services_rate_is_the_sum_over_its_sessions(flows: int, autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        for _ in range(flows):
            world.open()
        await trio.sleep(0.5)
        assert await world.rates(3) == (near(RATE), near(RATE / 2))


async def test_a_kernel_that_gives_too_much_is_held_to_the_rate(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(excess=1.16) as world:
        for _ in range(3):
            world.open()
        await trio.sleep(2)
        assert await world.rates(5) == (near(RATE), near(RATE / 2))


async def test_each_service_has_a_rate_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        shop, bank = [world.open("shop"), world.open("shop")], world.open("bank")
        await trio.sleep(0.5)
        assert await world.rates(2, *shop) == (near(RATE), near(RATE / 2))
        assert await world.rates(2, bank) == (near(RATE), near(RATE / 2))


async def test_what_a_light_session_leaves_the_others_have(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        greedy = [world.open(), world.open()]
        light = world.open(wants=RATE / 20)
        await trio.sleep(1)
        assert await world.rates(2, light) == (near(RATE / 20), near(RATE / 20))
        down, _ = await world.rates(2, *greedy)
        assert 0.9 * RATE < down < RATE


@pytest.mark.parametrize("way", [0, 1])
async def test_the_two_directions_are_shared_each_by_itself(way: int, autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(RATE, RATE) as world:
        one, other = world.open(), world.open()
        one.wants, other.wants = (inf, 0.0), (0.0, inf)
        if way:
            one, other = other, one
        await trio.sleep(1)
        assert (await world.rates(1, one))[way] == near(RATE)
        assert (await world.rates(1, other))[1 - way] == near(RATE)


# Shares follow what happens, at most every tenth of a second.


async def test_a_session_that_opens_has_an_equal_share_at_once_and_costs_the_others_theirs_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        first = world.open()
        assert first.shares == (RATE, RATE / 2)
        await trio.sleep(1)
        second = world.open()
        assert second.shares == (RATE / 2, RATE / 4)
        await trio.sleep(SOON)
        assert first.shares == (near(RATE / 2), near(RATE / 4))


async def test_what_a_session_leaves_when_it_closes_the_others_have_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        first, second = world.open(), world.open()
        await trio.sleep(1)
        assert first.shares == (near(RATE / 2), near(RATE / 4))
        world.close(second)
        await trio.sleep(SOON)
        assert first.shares == (near(RATE), near(RATE / 2))


async def test_a_session_that_rests_lends_its_share_and_has_it_back_when_it_wakes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        first, second = world.open(), world.open()
        await trio.sleep(1)
        second.wants = (0.0, 0.0)
        await trio.sleep(2)
        assert first.shares[0] > 0.9 * RATE
        second.wants = (inf, inf)
        await trio.sleep(2 * SOON)
        assert first.shares == (near(RATE / 2), near(RATE / 4))
        assert second.shares == (near(RATE / 2), near(RATE / 4))


async def test_shares_are_worked_out_once_a_tick_however_much_happens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        for _ in range(200):
            line = world.open()
            await trio.sleep(STEP / 2)
            if len(world.lines) > 3:
                world.close(line)
    moments = sorted({at for _, at in world.pacer.at})
    assert 8 <= len(moments) <= 12
    assert min(later - earlier for earlier, later in pairwise(moments)) >= TICK_SECONDS - 1e-9


async def test_after_a_rest_the_first_look_is_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(governed=True) as world:
        world.put(down_rate=RATE)
        line = world.open(wants=0.0)
        await trio.sleep(60)
        assert len(world.pacer) == 0
        world.put(down_rate=RATE / 100)
        await trio.sleep(STEP)
        assert line.shares[0] == RATE / 100


async def test_while_nothing_moves_nothing_is_looked_at_and_the_first_byte_wakes_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        line, never = world.open(), world.open(wants=0.0)
        await trio.sleep(1)
        line.wants = (0.0, 0.0)
        await trio.sleep(60)
        looks = len(world.pacer.at)
        assert len(world.pacer) == 0
        await trio.sleep(600)
        assert len(world.pacer.at) == looks
        line.wants = (inf, inf)
        await trio.sleep(2)
        assert len(world.pacer.at) > looks + 5
        assert await world.rates(2) == (near(RATE), near(RATE / 2))
        assert never.asked == 0, "the kernel is not asked about a session that moved nothing"


async def test_one_busy_service_costs_the_idle_ones_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        for number in range(20):
            world.open(f"idle {number}", wants=0.0)
        world.open("busy")
        await trio.sleep(10)
        del world.pacer.at[:]
        await trio.sleep(5)
        assert {service for service, _ in world.pacer.at} == {"busy"}


async def test_the_kernel_is_not_told_what_it_knows(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        lines = [world.open() for _ in range(4)]
        await trio.sleep(2)
        told = [len(line.told) for line in lines]
        await trio.sleep(10)
        assert [len(line.told) for line in lines] == told


async def test_a_tick_looks_at_the_sessions_that_move_and_at_no_other(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        for _ in range(50):
            world.open(wants=0.0)
        busy = world.open()
        await trio.sleep(1)
        group = world.pacer._groups["shop"]
        assert [member.session for member in group.active] == [busy.session]
        busy.wants = (0.0, 0.0)
        await trio.sleep(20)
        assert (group.active, len(world.pacer)) == ({}, 0)


async def test_sessions_that_rest_are_told_another_equal_share_though_nobody_looks_at_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        resting = world.open(wants=0.0)
        await trio.sleep(1)
        others = [world.open(wants=0.0) for _ in range(3)]
        await trio.sleep(SOON)
        assert resting.shares == (RATE / 4, RATE / 8)
        for line in others:
            world.close(line)
        await trio.sleep(SOON)
        assert resting.shares == (RATE, RATE / 2)


async def test_a_small_service_does_not_wait_for_a_large_one(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is one slice of 30 µs here, with a rest of 3 ms, so that a look at the large one takes a second."""
    async with open_world() as world:
        for _ in range(100):
            world.open("large")
        world.open("small")
        await trio.sleep(0.5)
        moments = count()
        monkeypatch.setattr("trioedge.loop.slices.perf_counter", lambda: next(moments) * 1e-5)
        monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
        monkeypatch.setattr("trioedge.stages.pacing.pacer.REST", 100)
        monkeypatch.setattr("trioedge.stages.pacing.rate_group.EACH", 1)
        await trio.sleep(0.1)
        del world.pacer.at[:]
        await trio.sleep(3)
        looks = Counter(name for name, _ in world.pacer.at)
    assert looks["small"] >= 25
    assert looks["large"] <= 8, "while theirs go on"


# Sessions that come and go between two looks.


async def test_what_short_sessions_moved_is_the_services_and_the_next_make_up_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each begins with what the kernel does not pace, and is gone before anybody looks."""
    async with open_world() as world:
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


async def test_a_service_owes_what_its_last_session_moved_until_it_is_repaid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        for _ in range(4):
            short = world.open(wants=0.0)
            short.bytes_down = int(RATE / 4)
            world.close(short)
        await trio.sleep(SOON)
        assert world.open(wants=0.0).shares[0] < 0.8 * RATE
        world.close(world.lines[0])
        await trio.sleep(2)
        assert world.pacer._groups == {}
        assert world.open(wants=0.0).shares[0] == RATE


# A policy that changes.


async def test_services_without_sessions_are_nothing_to_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(governed=True) as world:
        for number in range(100):
            world.put(f"shop {number}", down_rate=RATE)
            world.put(f"shop {number}", down_rate=RATE / 2)
            world.remove(f"shop {number}")
        assert (len(world.pacer), world.pacer._groups) == (0, {})


async def test_a_rate_that_changes_within_a_look_cuts_it_short_and_loses_nobody(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(200)]
        await trio.sleep(1)
        monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
        await trio.sleep(0.15)
        world.put(down_rate=RATE / 10)
        monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", inf)
        await trio.sleep(2 * SOON)
        assert sum(line.shares[0] for line in lines) == near(RATE / 10)
        assert len(world.pacer._groups["shop"].active) == 200
        assert (await world.rates(2))[0] == near(RATE / 10)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
async def test_another_rate_holds_for_live_sessions_within_a_tick(
    factor: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_world(governed=True) as world:
        world.put(down_rate=RATE, up_rate=RATE)
        lines = [world.open() for _ in range(3)]
        await trio.sleep(1)
        world.put(down_rate=RATE * factor, up_rate=RATE)
        await trio.sleep(SOON)
        assert sum(line.shares[0] for line in lines) == near(RATE * factor)
        assert await world.rates(2) == (near(RATE * factor), near(RATE))


async def test_a_rate_that_comes_is_split_among_those_who_live_from_the_first_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(inf, inf, governed=True) as world:
        world.put()
        lines = [world.open(wants=RATE) for _ in range(8)]
        await trio.sleep(1)
        assert all(line.shares == (inf, inf) for line in lines)
        world.put(down_rate=RATE)
        await trio.sleep(STEP)
        assert [line.shares for line in lines] == [(RATE / 8, inf)] * 8
        assert await world.rates(2) == (near(RATE), near(8 * RATE))


async def test_a_rate_that_goes_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(inf, inf, governed=True) as world:
        world.put(down_rate=RATE)
        lines = [world.open(wants=RATE) for _ in range(3)]
        await trio.sleep(1)
        world.put()
        await trio.sleep(SOON)
        assert [line.shares for line in lines] == [(inf, inf)] * 3
        assert await world.rates(1) == (near(3 * RATE), near(3 * RATE))
        assert world.pacer._groups == {}
        assert len(world.pacer) == 0


async def test_where_the_policy_says_none_the_default_holds(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(governed=True) as world:
        world.put(down_rate=RATE / 10)
        line = world.open()
        assert line.shares == (RATE / 10, RATE / 2)
        world.put()
        await trio.sleep(SOON)
        assert line.shares == (RATE, RATE / 2)


async def test_a_rate_that_comes_and_goes_all_day_leaves_no_trace_in_a_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(inf, inf, governed=True) as world:
        world.put()
        line = world.open()
        for _ in range(10):
            for rate in (RATE, None):
                world.put(down_rate=rate)
                await trio.sleep(SOON)
        assert len(line.session._deferred or ()) <= 1
        assert world.pacer._groups == {}


# Sessions that go, move, or never come.


async def test_a_session_that_a_later_decision_refuses_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        for _ in range(100):
            world.decide().end(Reject(Reason.POLICY))
        assert world.open().shares == (RATE, RATE / 2), "who was refused takes no share"
        await trio.sleep(SOON)
        assert len(world.pacer._groups["shop"].members) == 1
        for _ in range(3):
            world.decide("nobody's").end(Reject(Reason.POLICY))
        await trio.sleep(SOON)
        assert list(world.pacer._groups) == ["shop"]


async def test_the_last_session_of_a_service_takes_its_group_along(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        lines = [world.open() for _ in range(3)]
        await trio.sleep(1)
        for line in lines:
            world.close(line)
        await trio.sleep(2 * SOON)
        assert world.pacer._groups == {}
        assert len(world.pacer) == 0


async def test_a_service_that_goes_and_comes_back_is_paced_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(governed=True) as world:
        world.put()
        line = world.open()
        await trio.sleep(1)
        world.remove()
        world.close(line)
        await trio.sleep(SOON)
        assert world.pacer._groups == {}
        world.put()
        world.open()
        await trio.sleep(1)  # until the kernel sees to it
        assert await world.rates(1) == (near(RATE), near(RATE / 2))


async def test_a_session_of_a_service_that_nobody_names_has_the_default_until_it_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(governed=True) as world:
        session = world.decide("ghost")
        assert (session.down_rate, session.up_rate) == (RATE, RATE / 2)
        session.end(Reject(Reason.SERVICE))
        await trio.sleep(SOON)
        assert world.pacer._groups == {}


async def test_a_session_that_moves_to_another_service_is_paced_with_its_new_fellows_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(governed=True) as world:
        world.put("shop", down_rate=RATE)
        world.put("bank", down_rate=4 * RATE)
        stays, moves, fellow = world.open("shop"), world.open("shop"), world.open("bank")
        await trio.sleep(1)
        moves.session.service = "bank"
        await trio.sleep(2)
        assert stays.shares[0] == near(RATE)
        assert moves.shares[0] == fellow.shares[0] == near(2 * RATE)
        assert [len(group.members) for group in world.pacer._groups.values()] == [1, 2]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_session_that_moves_in_from_a_service_without_a_rate_gets_one(
    alone: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_world(inf, inf, governed=True) as world:
        world.put("free")
        world.put("shop", down_rate=RATE)
        if not alone:
            world.open("shop")
        line = world.open("free")
        await trio.sleep(1)
        line.session.service = "shop"
        await trio.sleep(0.5)
        assert line.shares == (near(RATE if alone else RATE / 2), inf)


async def test_a_session_that_moves_to_a_service_without_a_rate_has_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world(inf, inf, governed=True) as world:
        world.put("free")
        world.put("shop", down_rate=RATE)
        line = world.open("shop")
        await trio.sleep(1)
        line.session.service = "free"
        await trio.sleep(0.5)
        assert line.shares == (inf, inf)
        assert world.pacer._groups == {}


async def test_a_session_that_moves_and_ends_at_once_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        line = world.open("shop")
        await trio.sleep(1)
        line.session.service = "bank"
        world.close(line)
        await trio.sleep(2 * SOON)
        assert world.pacer._groups == {}


# A fault.


class Faulty(Line):
    """Cannot be told its rates while `broken`."""

    broken = True

    def pace(self, down_rate: float, up_rate: float) -> None:
        if self.broken:
            raise LookupError("bug")
        super().pace(down_rate, up_rate)


async def test_what_raises_in_one_service_is_said_and_the_others_are_paced_as_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_world() as world:
        world.open("bad")
        world.lines[0] = world.lines[0].session.carrier = faulty = Faulty(world.lines[0].session, inf, 1.0)
        first = world.open("good")
        await trio.sleep(0.5)
        with capture_logs() as logs:
            world.open("bad")
            world.open("good")
            await trio.sleep(SOON)
            assert first.shares == (near(RATE / 2), near(RATE / 4))
            assert await world.rates(2, *world.lines[1:4:2]) == (near(RATE), near(RATE / 2))
        assert {(entry["event"], entry["log_level"], entry["service"]) for entry in logs} == {
            ("pacing failed", "error", "bad")
        }
        assert isinstance(logs[0]["exc_info"], LookupError)
        assert len(logs) <= 3, "once a second"
        faulty.broken = False
        await trio.sleep(2 * SOON)
        assert faulty.told, "it is tried again"
        assert await world.rates(2, faulty, world.lines[2]) == (near(RATE), near(RATE / 2))


# Cancelled.


@pytest.mark.parametrize("after", [0.0, STEP, 1.05])
async def test_a_cancel_leaves_the_rates_as_they_were_and_nobody_behind(
    after: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Before it has looked, while it sleeps out its tick, and while nothing is to do."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_world() as world:
        lines = [world.open(), world.open()]
        await trio.sleep(after)
    shares = [line.shares for line in lines]
    await trio.sleep(1)
    assert [line.shares for line in lines] == shares
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_cancel_in_the_middle_of_a_look_is_one_between_two_slices(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some sessions know their new share then, the others have the one before."""
    async with trio.open_nursery() as nursery:
        world = World(RATE, RATE, governed=True, excess=1.0)
        world.put(down_rate=RATE)
        lines = [world.open() for _ in range(20)]
        await nursery.start(world.pacer.run)
        await trio.sleep(1)
        assert {line.shares[0] for line in lines} == {RATE / 20}
        monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
        world.put(down_rate=RATE / 10)
        with trio.fail_after(1):
            while len({line.shares[0] for line in lines}) == 1:
                await trio.sleep(5e-6)  # less than a rest, and the clock goes on
        nursery.cancel_scope.cancel()
    assert {line.shares[0] for line in lines} == {RATE / 20, RATE / 200}
