"""The supervisor of a control plane: start, faults, restarts, and the last reports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio_util import AsyncValue

import trioedge as te
from trioedge.control.supervisor import FLUSH_SECONDS, MAX_RETRY_SECONDS, ControlState, ControlSupervisor
from trioedge.services.service import Service
from trioedge.services.stage_keys import NO_KEYS
from trioedge.session.meter import Total
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session


class Mute:
    """A control plane that never applies a snapshot."""

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep_forever()


def governed(control: te.ControlPlane | None) -> ControlSupervisor:
    return ControlSupervisor(
        control, EdgeLog(), (Total(), Total()), name="edge", enforced=(), report_seconds=10,
        snapshots=AsyncValue(0), stage_keys=NO_KEYS,
    )  # fmt: skip


@asynccontextmanager
async def started(control: te.ControlPlane | None) -> AsyncIterator[ControlSupervisor]:
    governance = governed(control)
    async with trio.open_nursery() as workers:
        await governance.start(workers, trio.Event())
        yield governance
        workers.cancel_scope.cancel()


async def test_it_starts_with_the_first_snapshot() -> None:
    async with started(te.MemoryControl({"shop": te.Policy()})) as governance:
        state = governance.state()
        assert (state.services, state.error, state.failing_since, state.unreported) == (1, "", None, 0)
        assert state.applied_at is not None


async def test_without_a_control_plane_it_starts_at_once() -> None:
    async with started(None) as governance:
        assert governance.state() == ControlState("", None, 1, "", None, "", 0, 0), "the default service is there"
        assert isinstance(governance.services.find("anyone"), Service)


async def test_a_drain_ends_the_wait_for_the_first_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    governance, give_up = governed(Mute()), trio.Event()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as workers:

        async def patience() -> None:
            await trio.sleep(5)
            give_up.set()

        workers.start_soon(patience)
        await governance.start(workers, give_up)
        assert trio.current_time() == 5
    assert trio.lowlevel.current_statistics().tasks_living == tasks, "the control plane's task is gone, too"


async def test_a_cancel_ends_the_wait_for_the_first_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    governance = governed(Mute())
    with trio.move_on_after(3) as scope:
        async with trio.open_nursery() as workers:
            await governance.start(workers, trio.Event())
    assert scope.cancelled_caught


@pytest.mark.parametrize(("delay", "reports"), [(0.0, 1), (FLUSH_SECONDS + 1, 0)])
async def test_the_last_reports_are_sent_within_their_time(
    autojump_clock: trio.testing.MockClock, delay: float, reports: int
) -> None:
    control = te.MemoryControl({"default": te.Policy()})
    control.delay = delay
    async with started(control) as governance:
        service, session = governance.services.get("default"), make_session()
        assert service is not None
        session.enter(service)
        governance.live.add(session)
        governance.live.remove(session)
        assert governance.state().unreported == 1
        began = trio.current_time()
        await governance.finish()
        assert trio.current_time() - began == min(delay, FLUSH_SECONDS)
        assert governance.state().reported == reports
        assert control.totals("default").opened == reports


class Clumsy:
    """A control plane whose every run applies a snapshot and then raises."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.runs = 0
        self.began: list[float] = []

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.runs += 1
        self.began.append(trio.current_time())
        await link.apply(te.Snapshot({f"shop{self.runs}": te.Settings()}))
        task_status.started()
        await trio.sleep(self.seconds.pop(0) if self.seconds else 1)
        raise LookupError("as asked")


async def test_a_control_plane_that_crashes_after_its_first_snapshot_is_run_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = Clumsy()
    with capture_logs() as logs:
        async with started(control) as governance:
            await trio.sleep(1.01)
            assert "has stopped" in governance.state().error
            assert "shop1" in governance.services, "the services stay as they were"
            await trio.sleep(1)
            assert control.runs == 2
            assert governance.state().error == ""
            assert "shop2" in governance.services
    assert "control plane crashed" in [entry["event"] for entry in logs]


async def test_the_pauses_between_crashes_double_until_a_run_lasts_long(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.control.supervisor.random.random", lambda: 1.0)
    control = Clumsy(0, 0, 0, MAX_RETRY_SECONDS + 1, 0)
    with capture_logs():
        async with started(control):
            await trio.sleep(60)
    ended = [began + (MAX_RETRY_SECONDS + 1 if number == 3 else 0) for number, began in enumerate(control.began)]
    pauses = [began - before for before, began in zip(ended, control.began[1:], strict=False)]
    assert pauses[:5] == pytest.approx([0.5, 1, 2, 0.5, 1])


async def test_a_control_plane_that_crashes_before_its_first_snapshot_is_a_fault_of_the_edge(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken:
        async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            raise LookupError("as asked")

    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with started(Broken()):
            pass


class Stop(BaseException):
    """An exception of a library that is no Exception, as some of them are."""


class Ending:
    """A control plane whose first run raises after its first snapshot, and whose repr raises as well."""

    def __init__(self, fault: BaseException) -> None:
        self.fault = fault
        self.runs = 0

    def __repr__(self) -> str:
        raise LookupError("no name")

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.runs += 1
        await link.apply(te.Snapshot({"shop": te.Settings()}))
        task_status.started()
        if self.runs == 1:
            raise self.fault
        await trio.sleep_forever()


@pytest.mark.parametrize("fault", [Stop("as asked"), BaseExceptionGroup("two", [Stop("one"), LookupError("two")])])
async def test_any_exception_of_a_control_plane_but_a_stop_is_logged_and_costs_a_restart(
    fault: BaseException, autojump_clock: trio.testing.MockClock
) -> None:
    control = Ending(fault)
    with capture_logs() as logs:
        async with started(control) as governance:
            await trio.sleep(0.01)
            assert governance.state().error.startswith("<Ending, whose repr raised LookupError> has stopped")
            await trio.sleep(1)
            assert control.runs == 2
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["control plane crashed"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_a_stop_out_of_a_control_plane_ends_the_edge_and_a_fault_beside_it_is_logged(
    stop: type[BaseException], autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.RaisesGroup(stop, flatten_subgroups=True), capture_logs() as logs:
        async with started(Ending(BaseExceptionGroup("two", [stop(), LookupError("as asked")]))):
            await trio.sleep_forever()
    assert "control plane crashed" in [entry["event"] for entry in logs]
