"""The services of workers follow those of the control process."""

import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import by_source, make_control, talk
from tests.support.workers import open_workers, settings_of


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
