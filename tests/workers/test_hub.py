"""The hub and its members: services, totals, evictions and questions over several workers."""

import trio
import trio.testing

import trioedge as te
from tests.support.workers import open_workers, settings_of


def compose(control: te.ControlPlane | None) -> te.Edge:
    """An edge whose services are named by source."""
    stages = [te.Identify(lambda session: "shop" if session.source.startswith("192.0.2.") else "bank")]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control, report_seconds=2)


async def test_workers_have_the_services_of_the_first_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    control = te.MemoryControl({"shop": te.Policy(max_sessions=3), "bank": te.Policy()})
    async with open_workers(compose, control) as world:
        for worker in world.workers:
            assert settings_of(worker.edge)["shop"].policy.max_sessions == 3
            assert {*worker.edge.services} == {"shop", "bank"}
        first, second = (worker.edge.services["shop"].incarnation for worker in world.workers)
        assert first == second


async def test_a_change_is_in_force_in_every_worker_when_apply_returns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = te.MemoryControl({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(compose, control) as world:
        clients = [await worker.world.connect() for worker in world.workers]
        plan = await control.put("shop", te.Policy(enabled=False))
        assert plan.evicted == 2, "one in each worker"
        for client in clients:
            assert (await client.ended()).reason is te.Reason.EVICTED
        await control.remove("bank")
        for worker in world.workers:
            assert {*worker.edge.services} == {"shop"}
            assert not worker.edge.services["shop"].policy.enabled


async def test_totals_of_workers_are_added_up(autojump_clock: trio.testing.MockClock) -> None:
    control = te.MemoryControl({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(compose, control) as world:
        for number, worker in enumerate(world.workers):
            client = await worker.world.connect(f"192.0.2.{number}")
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
        await trio.sleep(6)
        totals = control.totals("shop")
        assert (totals.bytes_up, totals.bytes_down, totals.opened, totals.live, totals.sources) == (8, 8, 2, 2, 2)
        assert len({report.epoch for report in control.reports}) == 1
