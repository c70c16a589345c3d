"""The services of workers follow those of the control process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any, cast

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.services import Governed
from tests.support.steps import run_steps
from tests.support.worker_edges import by_source, make_control, talk
from tests.support.workers import open_workers, settings_of
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Snapshot
from trioedge.telemetry.log import EdgeLog
from trioedge.workers.follower import BYTES_PER_MESSAGE, FanOut, ServiceFollower
from trioedge.workers.messages.channel import AnswerError
from trioedge.workers.messages.frames import pack
from trioedge.workers.messages.packed import unpack_settings


async def test_workers_have_the_services_of_the_first_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(shop=te.Policy(max_sessions=3))
    async with open_workers(by_source, control) as world:
        for worker in world.workers:
            assert settings_of(worker.edge)["shop"].policy.max_sessions == 3
            assert {*worker.edge.services} == {"shop", "bank"}
        first, second = (worker.edge.services["shop"].incarnation for worker in world.workers)
        assert first == second


async def test_a_change_is_in_force_in_every_worker_when_apply_returns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        clients = [await world.workers[number].world.connect() for number in range(2)]
        plan = await control.put("shop", te.Policy(enabled=False))
        assert plan.evicted == 2, "one in each worker"
        for client in clients:
            assert (await client.ended()).reason is te.Reason.EVICTED
        await control.remove("bank")
        for worker in world.workers:
            assert {*worker.edge.services} == {"shop"}
            assert not worker.edge.services["shop"].policy.enabled


async def test_a_service_that_is_removed_and_named_again_at_once_is_another_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        before = world.workers[0].edge.services["shop"]
        async with trio.open_nursery() as nursery:  # the second one before the first one has been told
            nursery.start_soon(control.remove, "shop")
            await trio.lowlevel.checkpoint()
            nursery.start_soon(control.put, "shop", te.Policy())
        assert (await client.ended()).reason is te.Reason.EVICTED
        assert world.workers[0].edge.services["shop"] is not before


# A follower alone.


class Worker:
    """A worker at the other end of a channel, which answers when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.slow = False
        self.go = trio.Event()
        self.fault = ""

    async def ask(self, topic: str, body: Any, seconds: float) -> object:
        assert seconds == inf
        pack(body)  # it can be sent
        self.asked.append((topic, body[1]))
        if self.slow:
            await self.go.wait()
        await trio.lowlevel.checkpoint()
        if self.fault:
            raise AnswerError(self.fault)
        return (0, 0, 0) if topic == "services" else None

    def rows(self) -> list[tuple[str, bool, bool]]:
        """Give the services that it was told: name, whether replaced, whether there."""
        return [
            (name, replaced, pieces is not None)
            for topic, rows in self.asked
            if topic == "services"
            for name, _, replaced, pieces in rows
        ]


@asynccontextmanager
async def following(world: Governed, worker: Worker) -> AsyncIterator[ServiceFollower]:
    fan_out = FanOut()
    world.services.watch(fan_out)
    follower = ServiceFollower("edge", 0, world.services, cast(Any, worker), EdgeLog())
    fan_out.followers.append(follower)
    world.applier.on_applied.append(lambda: fan_out.applied(world.applier.version))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        await trio.testing.wait_all_tasks_blocked()
        yield follower
        nursery.cancel_scope.cancel()


async def test_all_names_come_first_and_the_version_last() -> None:
    world, worker = Governed(), Worker()
    await world.applier.apply(Snapshot({f"s{n}": Settings() for n in range(130)}, version="one"))
    async with following(world, worker) as follower:
        follower.applied("one")
        await trio.testing.wait_all_tasks_blocked()
        topics = [topic for topic, _ in worker.asked]
        assert topics == ["begin", "names", "named", *["services"] * 3, "applied", "applied"]
        assert [body for topic, body in worker.asked if topic == "applied"][-1] == "one"
        assert follower.version == "one"
        assert not follower.lags


async def test_what_is_taken_away_overtakes_what_waits() -> None:
    world, worker = Governed(), Worker()
    names = [f"s{n}" for n in range(500)]
    await world.applier.apply(Snapshot({name: Settings() for name in names}))
    async with following(world, worker) as follower:
        worker.asked.clear()
        worker.slow = True
        await world.let("first", max_sessions=1)
        await trio.testing.wait_all_tasks_blocked()  # under way
        await world.applier.apply(Snapshot({name: Settings(Policy(max_sessions=2)) for name in names}, full=False))
        await world.let("s400", enabled=False)
        await world.applier.apply(Snapshot({}, frozenset({"s300"}), full=False))
        assert follower.lags
        worker.slow = False
        worker.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert worker.rows()[:3] == [("first", False, True), ("s400", False, True), ("s300", True, False)]
        assert not follower.lags


async def test_a_service_that_is_named_again_before_its_turn_is_to_be_replaced() -> None:
    world, worker = Governed(), Worker()
    await world.let("shop")
    async with following(world, worker):
        worker.asked.clear()
        worker.slow = True
        await world.let("first")
        await trio.testing.wait_all_tasks_blocked()
        await world.applier.apply(Snapshot({}, frozenset({"shop"}), full=False))
        await world.let("shop")
        worker.slow = False
        worker.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert worker.rows()[1] == ("shop", True, True)


async def test_a_worker_that_is_too_far_behind_is_told_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.workers.follower.MIN_WAITING", 10)
    world, worker = Governed(), Worker()
    await world.let("shop")
    async with following(world, worker) as follower:
        worker.asked.clear()
        worker.slow = True
        for number in range(20):
            await world.let("shop", max_sessions=number + 1)
        assert len(follower._rest) <= 11
        worker.slow = False
        worker.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [topic for topic, _ in worker.asked][1:4] == ["begin", "names", "named"]
        assert worker.rows()[-1] == ("shop", False, True)
        assert not follower.lags


async def test_a_worker_that_cannot_follow_is_named_and_holds_no_caller() -> None:
    world, worker = Governed(), Worker()
    await world.let("shop")
    with capture_logs() as lines:
        async with following(world, worker) as follower:
            worker.fault = "no room"
            await world.let("shop", max_sessions=1)
            await follower.caught_up()
            assert follower.refusal == "no room"
    assert [line["worker"] for line in lines if line["event"] == "worker does not follow the services"] == [0]


async def test_a_service_with_a_very_long_list_goes_in_messages_of_bounded_size() -> None:
    world, worker = Governed(), Worker()
    entries = tuple(f"2001:db8:{number >> 8:x}:{number & 255:x}::/64" for number in range(20_000))
    async with following(world, worker):
        worker.asked.clear()
        await world.let("shop", accept=entries)
        await trio.testing.wait_all_tasks_blocked()
        pieces = [body[-1] for topic, body in worker.asked if topic == "piece"]
        assert max(map(len, pieces)) <= BYTES_PER_MESSAGE
        assert run_steps(unpack_settings(pieces)).policy.accept == entries
        assert [rows for topic, rows in worker.asked if topic == "services"][-1][0][3] == ()
