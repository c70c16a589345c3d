"""Whole edges under a control plane: what services used is reported."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import trioedge as te
from tests.support.edges import dies_slowly, exchange, make_edge, services
from trioedge.control.supervisor import FLUSH_SECONDS
from trioedge.edge import rehearse
from trioedge.testing import Rehearsal, ScriptedUpstream, open_edge


async def test_a_removed_service_is_reported_to_its_last_byte(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        clients = [await world.connect("192.0.2.1") for _ in range(3)]
        for client in clients:
            await exchange(client, b"12345")
        plan = await control.remove("a")
        assert str(plan) == "removes 1 service; evicts 3 sessions"
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)
        await trio.sleep(20)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened) == (15, 15, 3)
        assert (usage.live, usage.sources) == (0, 0)
        assert world.edge.control_state().unreported == 0


async def test_a_service_removed_and_added_again_while_its_sessions_still_end_adds_up(
    autojump_clock: MockClock,
) -> None:
    control = services(a=te.Policy())
    async with open_edge(make_edge(control, dies_slowly)) as world:
        slow = await world.connect()
        await exchange(slow)
        await control.remove("a")
        await trio.sleep(1)
        assert slow.outcome is None
        with pytest.raises(KeyError):
            world.edge.services["a"]
        assert await control.put("a", te.Policy(max_sessions=9)) == te.Plan(added=("a",))
        a = world.edge.services["a"]
        assert (slow.session.service.live, a.live) == (1, 0), "the removed service has a session that ends still"
        assert slow.session.service.incarnation != a.incarnation
        quick = await world.connect()
        await exchange(quick)
        await slow.ended()
        assert (a.live, a.opened) == (1, 1)
        await trio.sleep(20)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened, usage.live, usage.sources) == (8, 8, 2, 1, 1)
        await exchange(quick)


async def test_idle_services_are_not_reported(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy(), c=te.Policy())
    async with open_edge(make_edge(control, te.IdleTimeout(10_000))) as world:
        client, _ = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        await trio.sleep(3600)
        assert [sorted(usage.service for usage in report.services) for report in control.reports] == [["a", "b"]]
        await exchange(client)
        await trio.sleep(3600)
        assert [[usage.service for usage in report.services] for report in control.reports[1:]] == [["a"]]


@asynccontextmanager
async def draining(edge: te.Edge) -> AsyncIterator[tuple[Rehearsal, trio.Event]]:
    """An edge that ends by itself, and an event that says that it has."""
    upstream, over = ScriptedUpstream(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)

        async def serve(task_status: trio.TaskStatus[te.Edge]) -> None:
            await rehearse(edge, upstream, task_status=task_status)
            over.set()

        await nursery.start(serve)
        yield Rehearsal(edge, upstream), over
        with trio.fail_after(3600):
            await over.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("moment", [1.0, 10.2], ids=["before a report", "while a report is under way"])
async def test_the_last_totals_are_reported_before_the_edge_ends(moment: float, autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    control.delay = 0.5
    edge = make_edge(control, drain_seconds=3)
    async with draining(edge) as (world, over):
        client = await world.connect()
        await exchange(client)
        await trio.sleep(moment)
        edge.drain()
        await exchange(client, b"more")
        await over.wait()
        assert await client.ended() == te.Completed(te.Reason.DRAINED)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened, usage.live) == (8, 8, 1, 0)
        assert edge.control_state().unreported == 0


@pytest.mark.parametrize("moment", [1.0, 15.0], ids=["before a report", "while a report is under way"])
async def test_unanswered_reports_delay_a_drain_by_two_seconds_at_most(
    moment: float, autojump_clock: MockClock
) -> None:
    control = services(a=te.Policy())
    control.delay = 3600.0
    edge = make_edge(control, drain_seconds=3)
    async with draining(edge) as (world, over):
        await exchange(await world.connect())
        await trio.sleep(moment)
        edge.drain()
        began = trio.current_time()
        await over.wait()
        assert trio.current_time() == pytest.approx(began + 3 + FLUSH_SECONDS, abs=0.1)


async def test_the_last_report_waits_for_the_last_session(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    edge = make_edge(control, dies_slowly, drain_seconds=3)
    async with draining(edge) as (world, over):
        await exchange(await world.connect())
        edge.drain()
        await over.wait()
        assert trio.current_time() == pytest.approx(3 + 5, abs=0.1)
        assert (control.totals("a").opened, control.totals("a").live) == (1, 0)


async def test_totals_add_up_over_the_runs_of_an_edge(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    edge = make_edge(control, drain_seconds=0, name="edge-7")
    for _ in range(2):
        async with draining(edge) as (world, _):
            for _ in range(2):
                await exchange(await world.connect())
            edge.drain()
    assert (control.totals("a").bytes_up, control.totals("a").opened) == (16, 4)
    assert {report.edge for report in control.reports} == {"edge-7"}
    assert len({report.epoch for report in control.reports}) == 2
