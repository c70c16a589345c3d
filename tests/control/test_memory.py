from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.control.fake_link import FakeLink
from tests.support.cancels import cancel_at_every_step
from trioedge.control.memory import MemoryControl
from trioedge.errors import ConfigurationError, EdgeError
from trioedge.services.control_plane import ChecksDevices, ControlPlane, DeviceVerdict, SnapshotError, TakesReports
from trioedge.services.credentials import Credentials
from trioedge.services.plan import Plan
from trioedge.services.policy import Policy, Settings
from trioedge.services.report import Report, Usage
from trioedge.services.snapshot import Snapshot

SLOW, FAST = Policy(session_rate=1), Policy(session_rate=100)


@asynccontextmanager
async def running(control: MemoryControl) -> AsyncIterator[FakeLink]:
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        yield link
        nursery.cancel_scope.cancel()


async def test_what_was_put_before_makes_the_first_snapshot() -> None:
    control = MemoryControl({"shop": SLOW, "cafe": SLOW})
    assert await control.put("shop", Settings(FAST, Credentials("hash"))) == Plan()
    await control.remove("cafe")
    await control.put("bank", SLOW)
    async with running(control) as link:
        assert link.snapshots == [Snapshot({"shop": Settings(FAST, Credentials("hash")), "bank": Settings(SLOW)})]


async def test_a_change_holds_once_it_returns() -> None:
    control = MemoryControl({"shop": SLOW})
    async with running(control) as link:
        assert await control.put("cafe", SLOW) == Plan(added=("cafe",))
        assert link.services == {"shop": Settings(SLOW), "cafe": Settings(SLOW)}
        assert await control.remove("shop") == Plan(removed=("shop",))
        assert await control.apply(Snapshot({"bank": Settings(FAST)})) == Plan(added=("bank",), removed=("cafe",))
        assert link.services == {"bank": Settings(FAST)}
    async with running(control) as link:
        assert link.services == {"bank": Settings(FAST)}


async def test_a_refused_change_is_no_change() -> None:
    control = MemoryControl({"shop": SLOW})
    async with running(control) as link:
        link.refuses = ("services.shop.session_rate = 0 must be a number above 0",)
        with pytest.raises(SnapshotError, match="above 0"):
            await control.put("shop", Policy(session_rate=0))
    async with running(control) as link:
        assert link.services == {"shop": Settings(SLOW)}


async def test_an_edge_does_not_start_with_faults() -> None:
    link = FakeLink()
    link.refuses = ("services.shop.preconnect = 2 needs an outbound to connect to",)
    with pytest.raises(ConfigurationError, match="needs an outbound"):
        await MemoryControl().run(link)


async def test_a_change_that_comes_while_the_first_snapshot_is_applied_is_not_lost() -> None:
    go_on = trio.Event()

    class SlowLink(FakeLink):
        async def apply(self, snapshot: Snapshot, /) -> Plan:
            await go_on.wait()
            return await super().apply(snapshot)

    control, link = MemoryControl(), SlowLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run, link)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(control.put, "shop", SLOW)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        await link.until(lambda link: "shop" in link.services)
        nursery.cancel_scope.cancel()


async def test_an_edge_that_has_ended_is_told_nothing() -> None:
    control = MemoryControl()
    async with running(control) as link:
        pass
    assert await control.put("shop", SLOW) == Plan()
    assert link.services == {}


async def test_a_cancelled_change_leaves_the_others_possible() -> None:
    control = MemoryControl()
    async with running(control) as link:
        for change in (control.put("shop", SLOW), control.remove("shop")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await change
            assert scope.cancelled_caught
        await control.put("cafe", SLOW)
        assert link.services == {"cafe": Settings(SLOW)}


async def test_it_is_all_that_a_control_plane_can_be() -> None:
    control = MemoryControl()
    assert isinstance(control, ControlPlane)
    assert isinstance(control, ChecksDevices)
    assert isinstance(control, TakesReports)
    assert repr(MemoryControl({"shop": SLOW})) == "MemoryControl(1 services)"


async def test_every_device_is_accepted_by_default() -> None:
    control = MemoryControl()
    assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True)
    assert control.checked == [("shop", "192.0.2.1")]


async def test_a_check_may_be_plain_or_async_and_give_a_verdict_or_just_yes_or_no() -> None:
    async def later(service: str, device: str) -> bool:
        await trio.lowlevel.checkpoint()
        return device == "192.0.2.1"

    verdict = DeviceVerdict(False, 5.0, "stolen")
    assert await MemoryControl(check=lambda *_: verdict).check_device("shop", "192.0.2.1") == verdict
    assert await MemoryControl(check=later).check_device("shop", "192.0.2.1") == DeviceVerdict(True)
    assert await MemoryControl(check=later).check_device("shop", "192.0.2.2") == DeviceVerdict(False)


async def test_a_check_that_takes_its_time_may_be_cancelled() -> None:
    under_way = 0

    async def check(service: str, device: str) -> bool:
        nonlocal under_way
        under_way += 1
        try:
            await trio.lowlevel.checkpoint()
            return True
        finally:
            under_way -= 1

    control = MemoryControl(check=check)

    def nothing_is() -> None:
        assert under_way == 0

    assert await cancel_at_every_step(lambda: control.check_device("shop", "192.0.2.1"), nothing_is) >= 2


async def test_one_that_is_cancelled_before_its_first_word_is_told_nothing_more() -> None:
    control = MemoryControl({"shop": SLOW})
    links: list[FakeLink] = []

    async def live() -> None:
        links.append(FakeLink())
        async with trio.open_nursery() as nursery:
            await nursery.start(control.run, links[-1])
            nursery.cancel_scope.cancel()

    def check() -> None:
        assert (control._link, control._one_at_a_time.locked()) == (None, False)
        assert len(links[-1].snapshots) <= 1

    assert await cancel_at_every_step(live, check) > 4
    assert links[-1].services == {"shop": Settings(SLOW)}


async def test_one_that_waits_for_a_change_before_its_first_word_may_be_cancelled() -> None:
    control, link = MemoryControl(), FakeLink()
    async with control._one_at_a_time:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(control.run, link)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert (scope.cancelled_caught, link.snapshots) == (True, [])
    assert not control._one_at_a_time.locked()
    assert await control.put("shop", SLOW) == Plan()


def report(epoch: str, sequence: int, *usage: Usage) -> Report:
    return Report("edge-1", epoch, sequence, usage)


async def test_nothing_counts_twice() -> None:
    control = MemoryControl()
    for each in (
        report("a", 1, Usage("shop", 1, 10, 20, 1, 1, 1), Usage("cafe", 2, 5, 5, 1, 1, 1)),
        report("a", 3, Usage("shop", 1, 30, 60, 3, 0, 0)),
        report("a", 3, Usage("shop", 1, 99, 99, 9, 9, 9)),  # comes again
        report("a", 2, Usage("shop", 1, 20, 40, 2, 2, 1)),  # arrives late
        report("a", 4, Usage("shop", 9, 100, 0, 1, 0, 0)),  # the service was removed, and is back
        report("b", 1, Usage("shop", 1, 1, 2, 1, 1, 1)),  # the edge was restarted
    ):
        await control.report(each)
    assert control.totals("shop") == Usage("shop", 0, 131, 62, 5, 1, 1)
    assert control.totals("cafe") == Usage("cafe", 0, 5, 5, 1, 1, 1)
    assert control.totals("bank") == Usage("bank", 0, 0, 0, 0, 0, 0)
    assert len(control.reports) == 6


async def test_one_that_is_down_answers_nothing_and_keeps_nothing() -> None:
    control = MemoryControl()
    control.down = True
    with pytest.raises(EdgeError, match="down"):
        await control.check_device("shop", "192.0.2.1")
    with pytest.raises(EdgeError, match="down"):
        await control.report(report("a", 1, Usage("shop", 1, 10, 20, 1, 1, 1)))
    assert control.totals("shop").bytes_up == 0
    assert (len(control.checked), len(control.reports)) == (1, 1)


async def test_one_that_is_slow_answers_later(autojump_clock: trio.testing.MockClock) -> None:
    control = MemoryControl()
    control.delay = 5.0
    await control.check_device("shop", "192.0.2.1")
    assert trio.current_time() == 5.0
    with trio.move_on_after(1) as scope:
        await control.report(report("a", 1, Usage("shop", 1, 10, 20, 1, 1, 1)))
    assert scope.cancelled_caught
    assert control.totals("shop").bytes_up == 0
