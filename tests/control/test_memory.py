"""MemoryControl with links that keep what they are told."""

from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_util import AsyncValue

from tests.support.cancels import cancel_at_every_step
from tests.support.fake_link import FakeLink, linked
from trioedge.control import memory as module
from trioedge.control.memory import MemoryControl
from trioedge.control.supervisor import ControlSupervisor
from trioedge.errors import ConfigurationError, EdgeError
from trioedge.services.control_plane import ChecksDevices, ControlPlane, DeviceVerdict, SnapshotError, TakesReports
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.report import Report, Usage
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS
from trioedge.session.meter import Total
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session

SLOW, FAST = Policy(session_rate=1), Policy(session_rate=100)


async def test_changes_before_the_edge_runs_make_its_first_snapshot() -> None:
    control = MemoryControl({"shop": SLOW, "cafe": SLOW})
    assert await control.put("shop", Settings(FAST, Credentials("hash"))) == Plan()
    await control.remove("cafe")
    await control.put("bank", SLOW)
    async with linked(control) as link:
        assert link.snapshots == [Snapshot({"shop": Settings(FAST, Credentials("hash")), "bank": Settings(SLOW)})]


async def test_a_change_is_applied_when_the_call_returns() -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as link:
        assert await control.put("cafe", SLOW) == Plan(added=("cafe",))
        assert link.services == {"shop": Settings(SLOW), "cafe": Settings(SLOW)}
        assert await control.remove("shop") == Plan(removed=("shop",))
        assert await control.apply(Snapshot({"bank": Settings(FAST)})) == Plan(added=("bank",), removed=("cafe",))
        assert link.services == {"bank": Settings(FAST)}
    async with linked(control) as link:
        assert link.services == {"bank": Settings(FAST)}


async def test_a_change_that_the_edge_refuses_is_not_kept() -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as link:
        link.refuses = ("services.shop.session_rate = 0 must be a number above 0",)
        with pytest.raises(SnapshotError, match="above 0"):
            await control.put("shop", Policy(session_rate=0))
    async with linked(control) as link:
        assert link.services == {"shop": Settings(SLOW)}


async def test_an_edge_that_refuses_the_first_snapshot_does_not_start() -> None:
    link = FakeLink()
    link.refuses = ("services.shop.preconnect = 2 needs a destination to connect to",)
    with pytest.raises(ConfigurationError, match="needs a destination"):
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


async def test_an_edge_that_has_stopped_is_told_nothing() -> None:
    control = MemoryControl()
    async with linked(control) as link:
        pass
    assert await control.put("shop", SLOW) == Plan()
    assert link.services == {}


async def test_a_cancelled_change_leaves_the_others_possible() -> None:
    control = MemoryControl()
    async with linked(control) as link:
        for change in (control.put("shop", SLOW), control.remove("shop")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await change
            assert scope.cancelled_caught
        await control.put("cafe", SLOW)
        assert link.services == {"cafe": Settings(SLOW)}


async def test_a_judgement_is_passed_to_every_edge_that_runs() -> None:
    control = MemoryControl({"shop": SLOW})
    control.judge("shop", "x", False)  # no edge hears of it
    async with linked(control) as one, linked(control) as other:
        control.judge("shop", "x", False)
        control.judge("shop", "y", DeviceVerdict(True, seconds=5, detail="a friend"))
        judged = [("shop", "x", DeviceVerdict(False)), ("shop", "y", DeviceVerdict(True, 5, "a friend"))]
        assert one.verdicts == other.verdicts == judged
        with pytest.raises(ConfigurationError, match=r"^link\.judge\(verdict=5\) must be a DeviceVerdict"):
            control.judge("shop", "x", 5)  # type: ignore[arg-type]


async def test_it_names_services_checks_devices_and_takes_reports() -> None:
    control = MemoryControl()
    assert isinstance(control, ControlPlane)
    assert isinstance(control, ChecksDevices)
    assert isinstance(control, TakesReports)
    assert repr(MemoryControl({"shop": SLOW})) == "MemoryControl(1 services)"


async def test_without_a_check_every_device_is_accepted() -> None:
    control = MemoryControl()
    assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True)
    assert control.checked == [("shop", "192.0.2.1")]


async def test_a_check_may_be_sync_or_async_and_return_a_verdict_or_a_bool() -> None:
    async def later(service: str, device: str) -> bool:
        await trio.lowlevel.checkpoint()
        return device == "192.0.2.1"

    verdict = DeviceVerdict(False, 5.0, "stolen")
    assert await MemoryControl(check=lambda *_: verdict).check_device("shop", "192.0.2.1") == verdict
    assert await MemoryControl(check=later).check_device("shop", "192.0.2.1") == DeviceVerdict(True)
    assert await MemoryControl(check=later).check_device("shop", "192.0.2.2") == DeviceVerdict(False)


async def test_a_slow_check_that_is_cancelled_at_any_step_is_ended() -> None:
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


async def test_a_run_that_is_cancelled_at_any_step_leaves_its_link_alone() -> None:
    control = MemoryControl({"shop": SLOW})
    links: list[FakeLink] = []

    async def live() -> None:
        links.append(FakeLink())
        async with trio.open_nursery() as nursery:
            await nursery.start(control.run, links[-1])
            nursery.cancel_scope.cancel()

    def check() -> None:
        assert (control._links, control._one_at_a_time.locked()) == ([], False)
        assert len(links[-1].snapshots) <= 1

    assert await cancel_at_every_step(live, check) > 4
    assert links[-1].services == {"shop": Settings(SLOW)}


async def test_a_run_that_waits_for_a_change_before_its_first_snapshot_may_be_cancelled() -> None:
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


# Several edges at once.


async def test_a_change_is_applied_to_every_link_when_the_call_returns() -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as first:
        await control.put("cafe", SLOW)
        async with linked(control) as second:
            assert second.services == first.services, "a link that comes later has the services as they are"
            assert await control.put("bank", FAST) == Plan(added=("bank",)), "a service that is new to both counts once"
            assert await control.remove("shop") == Plan(removed=("shop",))
            assert first.services == second.services == {"cafe": Settings(SLOW), "bank": Settings(FAST)}
        await control.put("shop", FAST)
    assert "shop" in first.services
    assert "shop" not in second.services, "an edge that has stopped is told nothing"


async def test_the_sessions_that_a_change_touches_on_all_edges_are_added_up() -> None:
    class Counting(FakeLink):
        async def apply(self, snapshot: Snapshot, /) -> Plan:
            await super().apply(snapshot)
            return Plan(changed={"shop": ("session_rate",)}, retuned=2, rechecked=3, evicted=4)

    control = MemoryControl()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await nursery.start(control.run, Counting())
        plan = await control.put("shop", FAST)
        assert plan == Plan(changed={"shop": ("session_rate",)}, retuned=6, rechecked=9, evicted=12)
        nursery.cancel_scope.cancel()


async def test_a_change_that_every_link_refuses_is_not_kept() -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as first, linked(control) as second:
        first.refuses = second.refuses = ("services.cafe: no",)
        with pytest.raises(SnapshotError) as caught:
            await control.put("cafe", FAST)
        assert caught.value.faults == ("services.cafe: no",)
        first.refuses = second.refuses = ()
        await control.put("shop", FAST)
        assert first.services == second.services == {"shop": Settings(FAST)}
    async with linked(control) as later:
        assert later.services == {"shop": Settings(FAST)}


async def test_a_change_that_one_link_refuses_says_how_many_have_applied_it() -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as first, linked(control) as second, linked(control) as third:
        second.refuses = ("services.cafe: no",)
        with pytest.raises(SnapshotError) as caught:
            await control.put("cafe", FAST)
        assert caught.value.faults == ("services.cafe: no", "edges that have applied it: 2")
        assert [("cafe" in link.services) for link in (first, second, third)] == [True, False, True]
    async with linked(control) as later:
        assert later.services == {"shop": Settings(SLOW)}, "a change that was refused is not kept"


async def test_edges_that_start_later_do_not_get_back_what_a_refused_change_took_away() -> None:
    class Taking(FakeLink):
        async def apply(self, snapshot: Snapshot, /) -> Plan:
            await super().apply(snapshot)
            if len(self.snapshots) == 1:
                return Plan(added=("shop", "cafe", "bank"))
            raise SnapshotError(["no"], Plan(changed={"shop": ("enabled",)}, removed=("cafe",)))

    control = MemoryControl({"shop": SLOW, "cafe": SLOW, "bank": SLOW})
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, Taking())
        off = {"shop": Settings(Policy(enabled=False)), "bank": Settings(Policy(session_rate=0))}
        with pytest.raises(SnapshotError, match="no; applied is only what it takes away: changes 1 service, removes 1"):
            await control.apply(Snapshot(off, frozenset({"cafe"}), full=False))
        nursery.cancel_scope.cancel()
    async with linked(control) as later:
        disabled = Settings(attrs.evolve(SLOW, enabled=False))
        assert later.services == {"shop": disabled, "bank": Settings(SLOW)}


class SlowLink(FakeLink):
    """A link that applies nothing after its first snapshot until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = trio.Event()
        self.given: list[Snapshot] = []

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        self.given.append(snapshot)
        if self.snapshots:
            await self.may.wait()
        return await super().apply(snapshot)


async def test_every_link_is_given_every_change_at_once_and_in_the_order_of_the_calls() -> None:
    control, links = MemoryControl(), [SlowLink() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for link in links:
            await nursery.start(control.run, link)
        for number in range(20):
            nursery.start_soon(control.put, f"shop-{number}", SLOW)
        await trio.testing.wait_all_tasks_blocked()
        given = [[*snapshot.services] for snapshot in links[0].given]
        assert len(given) == 21
        assert all([[*snapshot.services] for snapshot in link.given] == given for link in links)
        for link in links:
            link.may.set()
        await links[0].until(lambda link: len(link.services) == 20)
        nursery.cancel_scope.cancel()


async def test_an_edge_that_starts_during_a_change_of_another_gets_that_change_too() -> None:
    control, slow, later = MemoryControl(), SlowLink(), FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, slow)
        nursery.start_soon(control.put, "shop", SLOW)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(control.run, later)
        await trio.testing.wait_all_tasks_blocked()
        assert later.snapshots == []
        slow.may.set()
        await later.until(lambda link: link.services == {"shop": Settings(SLOW)})
        nursery.cancel_scope.cancel()


async def test_an_edge_that_stops_while_another_applies_a_change_is_told_nothing_more() -> None:
    control, slow = MemoryControl(), SlowLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, slow)
        async with linked(control) as stopping:
            nursery.start_soon(control.put, "shop", SLOW)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(control.put, "shop", FAST)
        slow.may.set()
        await slow.until(lambda link: link.services.get("shop") == Settings(FAST))
        await trio.testing.wait_all_tasks_blocked()
        assert len(stopping.snapshots) == 2
        nursery.cancel_scope.cancel()


async def test_a_cancelled_change_leaves_both_links_possible_to_change() -> None:
    control = MemoryControl()
    links: list[FakeLink] = []

    async def live() -> None:
        links[:] = [FakeLink(), FakeLink()]
        async with trio.open_nursery() as nursery:
            for link in links:
                await nursery.start(control.run, link)
            await control.put("shop", SLOW)
            nursery.cancel_scope.cancel()

    def check() -> None:
        assert (control._links, control._one_at_a_time.locked()) == ([], False)
        control._services.clear()

    assert await cancel_at_every_step(live, check) > 6
    assert [link.services for link in links] == [{"shop": Settings(SLOW)}] * 2


async def test_two_edges_with_one_control_plane_share_its_checks_and_are_counted_apart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two supervisors stand for two edges of the same name: each run of an edge has an epoch of its own."""
    control = MemoryControl({"default": SLOW}, check=lambda service, device: device != "192.0.2.9")
    async with trio.open_nursery() as nursery:
        edges = [
            ControlSupervisor(
                control,
                EdgeLog(),
                (Total(), Total()),
                name="edge",
                enforced=(),
                report_seconds=10,
                snapshots=AsyncValue(0),
                stage_keys=NO_KEYS,
            )
            for _ in range(2)
        ]
        for number, edge in enumerate(edges, 1):
            await edge.start(nursery, trio.Event())
            for _ in range(number):
                session, service = make_session(), edge.services.get("default")
                assert service is not None
                session.enter(service)
                edge.live.add(session)
                edge.live.remove(session)
            await edge.finish()
        assert control.totals("default").opened == 3
        assert [edge.state().reported for edge in edges] == [1, 1]
        assert len({report.epoch for report in control.reports}) == 2
        await control.put("shop", FAST)
        assert all("shop" in edge.services for edge in edges)
        nursery.cancel_scope.cancel()
    assert not (await control.check_device("shop", "192.0.2.9")).accept


# Checks and reports.


async def test_of_many_checks_and_reports_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    control = MemoryControl()
    for number in range(5):
        await control.check_device("shop", f"192.0.2.{number}")
        await control.report(report("a", number + 1))
    assert [device for _, device in control.checked] == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
    assert [each.sequence for each in control.reports] == [3, 4, 5]


def report(epoch: str, sequence: int, *usage: Usage) -> Report:
    return Report("edge-1", epoch, sequence, usage)


async def test_reports_that_repeat_or_come_late_count_once() -> None:
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


async def test_while_it_is_down_checks_and_reports_fail() -> None:
    control = MemoryControl()
    control.down = True
    with pytest.raises(EdgeError, match="down"):
        await control.check_device("shop", "192.0.2.1")
    with pytest.raises(EdgeError, match="down"):
        await control.report(report("a", 1, Usage("shop", 1, 10, 20, 1, 1, 1)))
    assert control.totals("shop").bytes_up == 0
    assert (len(control.checked), len(control.reports)) == (1, 1)


async def test_with_a_delay_checks_and_reports_are_answered_later(autojump_clock: trio.testing.MockClock) -> None:
    control = MemoryControl()
    control.delay = 5.0
    await control.check_device("shop", "192.0.2.1")
    assert trio.current_time() == 5.0
    with trio.move_on_after(1) as scope:
        await control.report(report("a", 1, Usage("shop", 1, 10, 20, 1, 1, 1)))
    assert scope.cancelled_caught
    assert control.totals("shop").bytes_up == 0


LIKE = "must be a Policy or Settings, as in Policy(session_rate=20)"
NAMES = "a service's name is printable text of 1 to 255 letters"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((5,), "MemoryControl(5) must be policies by name, as in {'shop': Policy(session_rate=20)}"),
        (([],), "MemoryControl([]) must be policies by name, as in {'shop': Policy(session_rate=20)}"),
        (({"a": None},), f"MemoryControl: services.a = None {LIKE}"),
        (({5: Policy()},), f"MemoryControl: services.5: {NAMES}"),
        (({"a\n": Policy()},), f"MemoryControl: services.'a\\n': {NAMES}"),
    ],
)
def test_services_that_cannot_be_services_are_refused(arguments: tuple[Any, ...], fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        MemoryControl(*arguments)
    assert str(refusal.value) == fault


def test_a_check_that_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        MemoryControl(check=5)  # type: ignore[arg-type]
    assert str(refusal.value) == "MemoryControl(check=5) must be a function of service and device"


@pytest.mark.parametrize(
    ("method", "arguments", "fault"),
    [
        ("put", ("a", None), f"MemoryControl: services.a = None {LIKE}"),
        ("put", ("b", 5), f"MemoryControl: services.b = 5 {LIKE}"),
        ("put", (5, Policy()), f"MemoryControl: services.5: {NAMES}"),
        ("put", ("a\n", Policy()), f"MemoryControl: services.'a\\n': {NAMES}"),
        ("remove", (["a"],), "MemoryControl.remove(['a']) must be the name of a service, as in 'shop'"),
        (
            "apply",
            ("x",),
            "MemoryControl.apply('x') must be a Snapshot, as in Snapshot({'shop': Settings(Policy(session_rate=20))})",
        ),
    ],
)
async def test_a_change_that_cannot_be_one_is_refused_and_changes_nothing(
    method: str, arguments: tuple[Any, ...], fault: str
) -> None:
    control = MemoryControl({"shop": SLOW})
    async with linked(control) as link:
        with pytest.raises(ConfigurationError) as refusal:
            await getattr(control, method)(*arguments)
        assert str(refusal.value) == fault
        assert link.services == {"shop": Settings(SLOW)}
