"""The worker that sends reports, with a control plane that fails and a clock that jumps."""

from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from trioedge.control import reporter as reporter_module
from trioedge.control import reports as reports_module
from trioedge.control.reporter import REPORT_SECONDS, SERVICES_PER_REPORT, Reporter
from trioedge.control.reports import Reports
from trioedge.services.policy import Settings
from trioedge.services.report import Report
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.structures.backoff import Backoff
from trioedge.telemetry.log import EdgeLog

ROUND = 10.0
BACK = "reports are acknowledged again"


class Plane:
    """A control plane that takes reports, slowly or not at all if a test says so."""

    def __init__(self) -> None:
        self.came: list[tuple[float, Report]] = []
        self.cancelled = 0
        self.seconds = 0.0
        self.fault: BaseException | None = None

    async def report(self, report: Report, /) -> None:
        self.came.append((trio.current_time(), report))
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.fault is not None:
            raise self.fault

    def times(self) -> list[float]:
        return [at for at, _ in self.came]

    def said(self) -> list[tuple[int, list[str]]]:
        return [(report.sequence, [usage.service for usage in report.services]) for _, report in self.came]


class World:
    def __init__(self) -> None:
        self.services = Services(Total(), Total(), governed=True)
        self.reports = Reports("edge", "1")
        self.plane = Plane()
        self.reporter = Reporter(self.plane, self.reports, EdgeLog(), ROUND)
        self.services.on_traffic.append(self.reporter.mark)
        self.services.on_gone.append(self.reporter.gone)
        self.logs: list[MutableMapping[str, Any]] = []

    def said(self) -> list[str]:
        """The lines of the log: the error of a line, or its event."""
        return [line.get("error", line["event"]) for line in self.logs]

    def service(self, name: str = "a") -> Service:
        """Add a service with a session, which makes it due."""
        service = self.services.apply(Change(name, None, Settings()), None)
        self.services.entered(service)
        return service

    def remove(self, name: str) -> None:
        self.services.apply(Change(name, Settings(), None), None)


@asynccontextmanager
async def at_work() -> AsyncIterator[World]:
    world = World()
    with capture_logs() as world.logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(world.reporter.run)
            yield world
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of 0.5, 1, 2, 4 ... 30 seconds."""

    def backoff(first: float, most: float, random: Callable[[], float]) -> Backoff:
        return Backoff(first, most, lambda: 1.0)

    monkeypatch.setattr(reporter_module, "Backoff", backoff)


async def test_a_busy_service_is_reported_once_a_round(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.plane.seconds = 0.3
        service = world.service()
        for _ in range(600):  # bytes move all the time, also while a report is under way
            service.down.add(1)
            await trio.sleep(0.1)
        assert world.plane.times() == pytest.approx([10.0, 20.3, 30.6, 40.9, 51.2])
        bytes_down = [report.services[0].bytes_down for _, report in world.plane.came]
        assert bytes_down == sorted(bytes_down)
        assert world.reporter.error == ""


async def test_while_no_service_changes_no_report_is_sent_and_no_timer_runs(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        await trio.sleep(3600)
        assert world.plane.came == []
        world.service()
        await trio.sleep(ROUND + 1)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == inf, "no timer is left running"
        await trio.sleep(3600)
        assert world.plane.said() == [(1, ["a"])]


async def test_of_more_than_a_thousand_services_the_next_report_follows_at_once(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        for number in range(2 * SERVICES_PER_REPORT + 1):
            world.service(f"{number}")
        await trio.sleep(ROUND + 1)
        assert [len(names) for _, names in world.plane.said()] == [SERVICES_PER_REPORT, SERVICES_PER_REPORT, 1]
        assert world.plane.times() == [ROUND] * 3
        assert world.reports.acknowledged == 3
        assert not world.reports


async def test_a_report_that_fails_is_sent_again_after_growing_pauses(
    autojump_clock: MockClock,
) -> None:
    async with at_work() as world:
        service = world.service()
        world.plane.fault = OSError("no route")
        await trio.sleep(ROUND + 3)
        assert world.plane.times() == [10.0, 10.5, 11.5]
        service.up.add(5)
        world.plane.fault = None
        await trio.sleep(ROUND)
        assert world.plane.times() == [10.0, 10.5, 11.5, 13.5]
        assert [sequence for sequence, _ in world.plane.said()] == [1, 2, 3, 4]
        assert world.plane.came[-1][1].services[0].bytes_up == 5
        assert world.said() == ["no route", "no route", BACK], "a second apart at least"
        assert world.reporter.error == ""
        assert world.reports.acknowledged == 4
        service.up.add(1)
        await trio.sleep(2 * ROUND)
        assert world.said().count(BACK) == 1, "the control plane did not fail in between"
        world.plane.fault = OSError("no route")
        service.up.add(1)
        await trio.sleep(ROUND + 1)
        first, again = world.plane.times()[-2:]
        assert again - first == 0.5, "the pauses begin anew"


async def test_a_service_that_changes_while_reports_fail_is_reported_later(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.service("a")
        world.plane.fault = OSError("no route")
        await trio.sleep(ROUND + 1)
        world.service("b")
        world.plane.fault = None
        await trio.sleep(3 * ROUND)
        names = {name for _, names in world.plane.said() for name in names}
        assert names == {"a", "b"}
        assert not world.reports


class Nameless(BaseException):
    """An exception of a library that is no Exception, and whose message cannot be written."""

    def __str__(self) -> str:
        raise LookupError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ValueError(), "ValueError()"),
        (ExceptionGroup("two", [OSError("one"), ValueError()]), "two (2 sub-exceptions)"),
        (BaseExceptionGroup("two", [Nameless(), ValueError()]), "two (2 sub-exceptions)"),
        (Nameless(), "<Nameless, whose repr raised LookupError>"),
    ],
)
async def test_any_exception_of_the_control_plane_is_logged_and_the_report_sent_again(
    fault: BaseException, words: str, autojump_clock: MockClock
) -> None:
    async with at_work() as world:
        world.service()
        world.plane.fault = fault
        await trio.sleep(ROUND + 0.1)
        assert world.said() == [world.reporter.error] == [words]
        world.plane.fault = None
        await trio.sleep(ROUND)
        assert world.reports.acknowledged == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), BaseExceptionGroup("two", [SystemExit(), ValueError()])])
async def test_a_stop_out_of_the_control_plane_is_raised_and_the_services_stay_due(
    stop: BaseException, autojump_clock: MockClock
) -> None:
    world = World()
    world.service()
    world.plane.fault = stop
    with pytest.raises(type(stop)) as caught:
        await world.reporter.flush(1)
    assert caught.value is stop
    assert len(world.reports) == 1


async def test_a_report_without_an_answer_is_given_up_and_sent_again(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.service()
        world.plane.seconds = 3600
        await trio.sleep(ROUND + REPORT_SECONDS + 0.1)
        assert world.said() == [world.reporter.error] == ["no answer to a report within 10 s"]
        world.plane.seconds = 0
        await trio.sleep(1)
        assert world.plane.times() == [10.0, 20.5]
        assert world.reports.acknowledged == 2


async def test_totals_that_are_lost_for_want_of_room_are_logged_and_only_those(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "MAX_GONE", 1)
    async with at_work() as world:
        for name in "ab":
            world.services.left(world.service(name))
        world.remove("a")
        assert world.said() == []
        world.remove("b")
        assert world.said() == ["totals lost: too many services that are no more wait to be reported"]


# The end.


async def test_a_flush_sends_all_reports_at_once(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        for number in range(SERVICES_PER_REPORT + 1):
            world.service(f"{number}")
        with trio.testing.assert_checkpoints():
            await world.reporter.flush(2)
        assert world.plane.times() == [0.0, 0.0]
        assert not world.reports


async def test_a_flush_with_no_service_due_sends_nothing() -> None:
    async with at_work() as world:
        with trio.testing.assert_checkpoints():
            await world.reporter.flush(2)
        assert world.plane.came == []


async def test_a_flush_waits_for_a_report_under_way_and_sends_later_changes(
    autojump_clock: MockClock,
) -> None:
    async with at_work() as world:
        service = world.service()
        world.plane.seconds = 0.7
        await trio.sleep(ROUND + 0.5)
        service.up.add(1)
        await world.reporter.flush(2)
        assert trio.current_time() == pytest.approx(ROUND + 1.4)
        assert [report.services[0].bytes_up for _, report in world.plane.came] == [0, 1]
        assert (world.reports.acknowledged, len(world.reports)) == (2, 0)


async def test_a_flush_stops_at_a_report_that_fails(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.service()
        world.plane.fault = OSError("no route")
        await world.reporter.flush(2)
        assert len(world.plane.came) == 1
        assert len(world.reports) == 1


@pytest.mark.parametrize("under_way", [False, True])
async def test_a_flush_ends_at_its_deadline(under_way: bool, autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.service()
        world.plane.seconds = 3600
        if under_way:
            await trio.sleep(ROUND + 1)
        began = trio.current_time()
        await world.reporter.flush(2)
        assert trio.current_time() == began + 2


@pytest.mark.parametrize("seconds", [0, ROUND / 2, ROUND + 1], ids=["idle", "between rounds", "under way"])
async def test_after_a_cancel_the_services_of_a_report_under_way_are_due(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with at_work() as world:
        if seconds:
            world.service()
        world.plane.seconds = 3600
        await trio.sleep(seconds)
    assert len(world.reports) == (1 if seconds else 0)
    assert world.plane.cancelled == len(world.plane.came) == (seconds > ROUND)
    assert world.reporter.error == ""


async def test_after_a_flush_that_was_cancelled_its_services_are_due(autojump_clock: MockClock) -> None:
    world = World()
    world.service()
    world.plane.seconds = 3600
    with trio.move_on_after(1) as scope:
        await world.reporter.flush(2)
    assert scope.cancelled_caught
    assert len(world.reports) == 1


async def test_the_lag_is_the_age_of_the_oldest_change_that_is_not_acknowledged(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        assert world.reporter.lag(trio.current_time()) == 0
        world.service()
        await trio.sleep(9)
        assert world.reporter.lag(trio.current_time()) == pytest.approx(9)
        await trio.sleep(ROUND)
        assert world.reporter.lag(trio.current_time()) == 0


async def test_the_lag_grows_while_reports_fail(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        world.plane.fault = OSError("down")
        world.service()
        await trio.sleep(300)
        assert world.reporter.lag(trio.current_time()) == pytest.approx(300)
        world.plane.fault = None
        await trio.sleep(30)
        assert world.reporter.lag(trio.current_time()) == 0


async def test_the_lag_of_a_busy_service_is_that_of_a_round(autojump_clock: MockClock) -> None:
    async with at_work() as world:
        service, lags = world.service(), []
        for _ in range(600):
            service.down.add(1)
            await trio.sleep(0.1)
            lags.append(world.reporter.lag(trio.current_time()))
        assert max(lags) <= ROUND + 0.2
