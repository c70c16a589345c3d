"""The live device limit without an edge around it: its deadlines, its worker, and the slices in which it cuts."""

import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.device_edges import LATE, ends_at, make_control, make_edge, talks
from tests.support.devices import Tenants, online, remembered
from tests.support.reactors import open_reactor
from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.loop.reactor import TICK_SECONDS
from trioedge.services.snapshot import Change
from trioedge.session.session import Session
from trioedge.stages.devices.live_device_limit import SPREAD, LiveDeviceLimit
from trioedge.stages.devices.memory import TICK
from trioedge.stages.devices.table import DeviceTable
from trioedge.testing import make_context, open_edge
from trioedge.testing.context import StillClock

CLOSED = te.Unchecked.FAIL_CLOSED

_ids = itertools.count(1)


class Home:
    """The edge of a session."""

    def __init__(self, clock: Any, tenants: Tenants) -> None:
        self.clock = clock
        self.find = tenants.services.find
        self.source_prefix = SourcePrefix()


class Carrier:
    """Carries no bytes and counts its cuts, each of which takes some seconds of the processor."""

    cuts = 0

    def __init__(self, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.seconds = seconds
        self.fault = fault

    def cut(self, reason: te.Reason) -> None:
        if self.fault is not None:
            raise self.fault
        began = time.perf_counter()
        while time.perf_counter() < began + self.seconds:
            pass
        Carrier.cuts += 1


class Limit:
    """A live device limit and the sessions that entered it.

    Attributes:
        clock: its reactor, or a clock in the place of one.
        sessions: admitted sessions, in order.
    """

    def __init__(self, recipe: te.DeviceLimit, clock: Any = None) -> None:
        self.clock = StillClock() if clock is None else clock
        self.tenants = Tenants()
        context = attrs.evolve(make_context(), reactor=cast(Any, self.clock), services=self.tenants.services)
        self.live: LiveDeviceLimit = recipe.open(context)
        self.sessions: list[Session] = []
        Carrier.cuts = 0

    @property
    def table(self) -> DeviceTable:
        return self.live._table

    def session(self, device: str, carrier: Carrier | None = None) -> Session:
        """Make a session of service `a` whose source is this device."""
        home = Home(self.clock, self.tenants)
        session = Session(next(_ids), "tcp://127.0.0.1:1", device, b"", 0, 0.0, self.tenants["a"], home)
        session.carrier = cast(Any, carrier or Carrier())
        return session

    def admit(self, device: str, carrier: Carrier | None = None) -> Session:
        session = self.session(device, carrier)
        assert self.live.decide(session) is te.CONTINUE
        self.sessions.append(session)
        return session


@asynccontextmanager
async def running(recipe: te.DeviceLimit) -> AsyncIterator[Limit]:
    """Run a device limit in a reactor of its own; no task is left behind."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_reactor() as reactor:
        limit = Limit(recipe, reactor)
        async with trio.open_nursery() as nursery:
            await nursery.start(limit.live.run)
            yield limit
            nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def never(service: str, device: str) -> te.DeviceVerdict:
    await trio.sleep(inf)
    raise AssertionError  # never


async def deny(service: str, device: str) -> te.DeviceVerdict:
    return te.DeviceVerdict(False)


# The decision.


def test_an_admitted_session_has_its_device_and_gives_its_place_back_when_it_ends() -> None:
    limit = Limit(te.DeviceLimit(1))
    session = limit.admit("x")
    assert session.device == "x"
    refused = limit.session("y")
    assert isinstance(limit.live.decide(refused), te.Reject)
    assert (refused.device, refused.allowance) == (None, None)
    assert session.end(te.Completed()) == []
    assert online(limit.table, limit.tenants["a"]) == 0
    limit.admit("y")


def test_a_session_of_a_removed_service_is_refused_and_leaves_no_device() -> None:
    limit = Limit(te.DeviceLimit(1, check=never))
    session = limit.session("x")
    limit.tenants.remove("a")
    assert limit.live.decide(session) == te.Reject(te.Reason.SERVICE, "no such service")
    assert remembered(limit.table) == 0
    limit.admit("x")


# Its deadline in the reactor.


def test_the_deadline_in_the_reactor_is_the_earliest_of_the_table() -> None:
    limit = Limit(te.DeviceLimit(check=never, grace=te.Grace(seconds=5)))
    limit.clock.now = 1.0
    limit.admit("x")
    assert list(limit.clock.deadlines.values()) == [(limit.live, 6.0)]
    limit.clock.now = 2.0
    limit.admit("y")
    assert list(limit.clock.deadlines.values()) == [(limit.live, 6.0)], "a later one is not set"
    limit.live.answered(limit.tenants["a"], "x", te.DeviceVerdict(True, 1.0))
    ((item, due),) = limit.clock.deadlines.values()
    assert item is limit.live
    assert 2.0 + 1.0 <= due <= 2.0 + 1.0 + TICK, "an earlier one takes its place"


def test_without_a_grace_or_a_hold_no_deadline_is_set() -> None:
    limit = Limit(te.DeviceLimit(2))
    limit.admit("x")
    limit.admit("x")
    limit.admit("y")
    assert limit.clock.deadlines == {}


def test_a_hold_sets_a_deadline() -> None:
    limit = Limit(te.DeviceLimit(1, handover="hold", hold_seconds=10))
    limit.admit("x")
    limit.admit("y")
    assert list(limit.clock.deadlines.values()) == [(limit.live, 10.0)]


async def test_a_grace_ends_at_most_a_tick_of_the_table_and_one_of_the_reactor_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert LATE == TICK + TICK_SECONDS
    ended_at: list[float] = []

    class Noting(Carrier):
        def cut(self, reason: te.Reason) -> None:
            ended_at.append(trio.current_time())

    async with running(te.DeviceLimit(check=never, unchecked="fail_closed", grace=te.Grace(1.0))) as limit:
        for number in range(20):
            await trio.sleep_until(number * 0.013)
            limit.clock.refresh()
            limit.admit(f"{number}", Noting())
        await trio.sleep(2)
    assert len(ended_at) == 20
    for number, at in enumerate(ended_at):
        assert number * 0.013 + 1.0 <= at <= number * 0.013 + 1.0 + LATE


async def test_the_table_is_looked_at_when_a_deadline_is_due_and_not_otherwise(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of a device online, whose verdicts are fresh for a minute each, and then an hour without a device."""
    expire, looks = DeviceTable.expire, 0

    def count(table: DeviceTable, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return expire(table, *arguments)

    monkeypatch.setattr(DeviceTable, "expire", count)
    control = make_control()
    control.delay = 0.5
    async with open_edge(make_edge(te.DeviceLimit(), control, before=(te.IdleTimeout(10_000),))) as world:
        client = await world.connect()
        for number in range(20):  # their deadlines are dropped, so that some looks find nothing
            await (await world.connect(f"192.0.2.{number + 2}")).close()
        await trio.sleep(3600)
        assert 60 <= control.checked.count(("shop", "192.0.2.1")) <= 61 / (1 - SPREAD)
        assert looks <= 5 * 61 / (1 - SPREAD)
        await client.close()
        await trio.sleep(600)
        looks = 0
        await trio.sleep(3600)
        assert looks == 0


async def test_verdicts_of_devices_that_came_at_once_expire_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        return te.DeviceVerdict(True, seconds=600)

    async with running(te.DeviceLimit(check=check, grace=te.Grace(devices=200))) as limit:
        for number in range(200):
            limit.admit(f"{number}")
        await trio.sleep(600 + LATE)
    assert len(asked_at) == 400
    again = asked_at[200:]
    assert min(again) >= 600 * (1 - SPREAD)
    assert max(Counter(int(each) for each in again).values()) < 30, "about four a second"


# Its worker.


@pytest.mark.parametrize("handover", [te.Handover.EVICT_OLDEST, te.Handover.REJECT_NEW])
async def test_a_lower_limit_cuts_one_device_a_step(handover: te.Handover) -> None:
    limit = Limit(te.DeviceLimit())
    service = limit.tenants["a"]
    for number in range(40):
        limit.admit(f"{number // 20}")
    after = te.Settings(te.Policy(device_limit=1, device_handover=handover))
    assert len([*limit.live.foresee(service, after)]) == 20
    change = Change("a", service.settings, after, ("device_limit", "device_handover"))
    for _ in limit.live.changed(service, change):
        seen, Carrier.cuts = Carrier.cuts, 0
        assert seen in (0, 20)
    assert online(limit.table, service) == 1
    assert [session.cut_reason for session in limit.sessions].count(te.Reason.DEVICE) == 20


def test_a_lower_limit_that_begins_a_hold_sets_a_deadline() -> None:
    limit = Limit(te.DeviceLimit(handover="hold", hold_seconds=10))
    service = limit.tenants["a"]
    limit.admit("x")
    limit.admit("y")
    assert limit.clock.deadlines == {}
    after = te.Settings(te.Policy(device_limit=1))
    assert [*limit.live.changed(service, Change("a", service.settings, after, ("device_limit",)))] == []
    assert list(limit.clock.deadlines.values()) == [(limit.live, 10.0)]


def test_a_removed_service_is_forgotten_one_session_a_step_with_its_rules() -> None:
    limit = Limit(te.DeviceLimit(5))
    service = limit.tenants["a"]
    after = te.Settings(te.Policy(device_limit=1))
    assert [*limit.live.changed(service, Change("a", service.settings, after, ("device_limit",)))] == []
    moved = limit.admit("x")
    stays = limit.admit("x")
    moved.service = "b"
    assert [*limit.live.foresee(service, None)] == [moved, None]
    former = limit.tenants.remove("a")
    assert len([*limit.live.changed(former, Change("a", after, None))]) == 3
    assert (moved.cut_reason, stays.cut_reason) == (te.Reason.EVICTED, None), "the edge cuts those of the service"
    assert (remembered(limit.table), limit.live._rules) == (0, {})
    assert moved.end(te.Completed()) == stays.end(te.Completed()) == []
    for device in "xyz":
        limit.admit(device)


@pytest.mark.parametrize("moment", ["starting", "idle", "checking"])
async def test_a_cancel_ends_the_worker(moment: str, autojump_clock: trio.testing.MockClock) -> None:
    async def accept(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(True)

    check = {"checking": never}.get(moment, accept)
    seconds = {"starting": -inf}.get(moment, 1.0)
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_reactor() as reactor:
        limit = Limit(te.DeviceLimit(check=check, grace=te.Grace(sessions=50)), reactor)
        for _ in range(50):
            limit.admit("x", Carrier(seconds=2e-4))
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            await limit.live.run(task_status=trio.TASK_STATUS_IGNORED)
        assert scope.cancelled_caught
        assert Carrier.cuts == 0
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_fault_of_the_table_is_logged_and_later_deadlines_are_handled(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire, faults = DeviceTable.expire, [LookupError("bug")]

    def fail_once(table: DeviceTable, *arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return expire(table, *arguments)

    control = make_control(device_unchecked=CLOSED)
    control.down = True
    with capture_logs() as logs:
        async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
            client = await world.connect("192.0.2.1")
            await trio.sleep(2)
            other = await world.connect("192.0.2.2")
            monkeypatch.setattr(DeviceTable, "expire", fail_once)
            for each, ends in ((client, 5), (other, 7)):
                await ends_at(each, ends)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["device limit failed"]


async def test_an_edge_that_stops_while_devices_are_checked_leaves_no_task(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    control = make_control()
    control.delay = 1000.0
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as world:
        client = await world.connect()
        await client.send(b"x")
        await trio.sleep(1)
        allowance = client.session.allowance
        assert allowance is not None
        assert allowance._waiting
    assert client.outcome == te.Completed(te.Reason.DRAINED)
    assert not allowance._waiting
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_cancel_of_an_edge_while_a_session_talks_leaves_no_task(autojump_clock: trio.testing.MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_edge(make_edge(te.DeviceLimit(1, handover="evict_oldest"), make_control())) as world:
        client = await world.connect()
        assert await talks(client)
    assert client.outcome == te.Completed(te.Reason.DRAINED)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
