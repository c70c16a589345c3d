"""The worker that keeps quotas and expiries, under a fake clock that is the wall clock too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.services import Governed, cut_reasons
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Snapshot
from trioedge.services.terms.keeper import TermsKeeper
from trioedge.services.terms.terms import LOOK_SECONDS, Terms
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog

BEGIN = 1_800_000_000.0


class World(Governed):
    """Services under a worker.

    Attributes:
        set_by: seconds by which the wall clock was set since the begin.
    """

    def __init__(self) -> None:
        self.set_by = 0.0
        self.terms = Terms(lambda: BEGIN + trio.current_time() + self.set_by)
        super().__init__(terms=self.terms)
        self.keeper = TermsKeeper(self.terms, self.registry, EdgeLog())


@asynccontextmanager
async def working() -> AsyncIterator[World]:
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.keeper.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_a_service_that_expires_has_its_sessions_cut_at_that_second(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with working() as world:
            await world.let("a", expires_at=BEGIN + 100)
            await world.let("b", expires_at=BEGIN + 200)
            one, other = world.carried("a"), world.carried("b")
            await trio.sleep(99)
            assert cut_reasons(one, other) == [None, None]
            await trio.sleep(1.1)
            assert cut_reasons(one, other) == [Reason.EXPIRED, None]
            assert one.outcome is not None
            assert one.outcome.detail == "the service has expired"
            await trio.sleep(100)
            assert cut_reasons(other) == [Reason.EXPIRED]
    assert [(each["service"], each["reason"]) for each in logs if each["event"] == "service is over"] == [
        ("a", "expired"),
        ("b", "expired"),
    ]


async def test_bytes_that_use_a_quota_up_have_all_sessions_of_the_service_cut() -> None:
    async with working() as world:
        service = world.services.apply(world.changes(snapshot(quota_bytes=10))[0], None)
        sessions, other = [world.carried("a") for _ in range(300)], world.carried(None)
        service.down.add(10)
        assert cut_reasons(*sessions) == [None] * 300, "the code that counts bytes does not wait for this"
        await wait_all_tasks_blocked()
        assert cut_reasons(*sessions) == [Reason.QUOTA] * 300
        assert cut_reasons(other) == [None]


def snapshot(**policy: Any) -> Snapshot:
    return Snapshot({"a": Settings(Policy(**policy))}, full=False)


@pytest.mark.parametrize("step", [1_000.0, 1e8])
async def test_a_clock_that_is_set_forward_is_noticed_within_half_a_minute(
    step: float, autojump_clock: MockClock
) -> None:
    async with working() as world:
        await world.let("a", expires_at=BEGIN + 1_000)
        session = world.carried("a")
        await trio.sleep(50)
        world.set_by = step
        await trio.sleep(LOOK_SECONDS + 0.1)
        assert cut_reasons(session) == [Reason.EXPIRED]


async def test_a_clock_that_is_set_back_admits_again_within_half_a_minute(autojump_clock: MockClock) -> None:
    async with working() as world:
        await world.let("a", expires_at=BEGIN + 10)
        await trio.sleep(20)
        service = world.services.get("a")
        assert service is not None
        assert service.refusal is not None
        world.set_by = -3_600
        await trio.sleep(LOOK_SECONDS + 0.1)
        assert service.refusal is None
        session = world.carried("a")
        await trio.sleep(3_600)
        assert cut_reasons(session) == [Reason.EXPIRED]


async def test_it_sleeps_while_no_service_has_an_expiry(autojump_clock: MockClock) -> None:
    turns = 0

    class Turns(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal turns
            turns += task.name.endswith("TermsKeeper.run")

    async with working() as world:
        await world.let("a", quota_bytes=10)
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(counted := Turns())
        await trio.sleep(1_000)
        assert turns == 0
        await world.let("b", expires_at=BEGIN + 1e6)
        await trio.sleep(10 * LOOK_SECONDS)
        assert 0 < turns < 30
        trio.lowlevel.remove_instrument(counted)


async def test_a_service_that_is_admitted_again_keeps_the_sessions_whose_turn_has_not_come() -> None:
    world = World()
    await world.let("a", quota_bytes=10)
    sessions = [world.carried("a") for _ in range(1_000)]
    service = world.services.get("a")
    assert service is not None
    service.up.add(10)
    steps = world.keeper._work()
    next(steps)
    await world.let("a", quota_bytes=20)
    for _ in steps:
        pass
    cut = cut_reasons(*sessions).count(Reason.QUOTA)
    assert 0 < cut < 1_000
    assert service.refusal is None


async def test_an_exception_is_logged_and_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with working() as world:
            await world.let("a", expires_at=BEGIN + 10)
            session = world.carried("a")
            with monkeypatch.context() as broken:
                broken.setattr(Terms, "look", lambda _: 1 / 0)
                await trio.sleep(11)
                assert cut_reasons(session) == [None]
            await trio.sleep(5)
            assert cut_reasons(session) == [Reason.EXPIRED]
    assert "quotas and expiries failed" in {each["event"] for each in logs}


async def test_a_cancel_at_any_step_leaves_nothing_and_the_next_worker_goes_on(autojump_clock: MockClock) -> None:
    worlds: list[World] = []
    before = left_open()

    async def act() -> None:
        world = World()
        worlds.append(world)
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                await nursery.start(world.keeper.run)
                await world.let("a", expires_at=BEGIN + trio.current_time() + 2)
                world.carried("a")
                await trio.sleep_forever()

    assert await cancel_at_every_step(act, lambda: None) > 5
    assert left_open() == before
