"""The services of a worker over lost connections, and over control processes that are replaced."""

import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import by_source, make_control, talk
from tests.support.workers import open_workers


async def test_a_worker_that_connects_again_changes_nothing_of_services_that_stay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        before = [worker.edge.services["shop"] for worker in world.workers]
        world.cut_connections()
        await trio.lowlevel.checkpoint()
        await control.remove("bank")
        await control.put("cafe", te.Policy(max_sessions=1))
        await trio.sleep(3)
        assert [worker.edge.services["shop"] for worker in world.workers] == before
        assert all({*worker.edge.services} == {"shop", "cafe"} for worker in world.workers)
        await client.send(b"more")
        assert await client.receive(4) == b"more"


async def test_another_control_process_keeps_services_and_sessions(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        before = world.workers[0].edge.services["shop"]
        world.kill_hub()
        await trio.sleep(2)
        assert world.workers[0].edge.control_state().error
        await control.remove("bank")
        await world.start_hub()
        await trio.sleep(3)
        assert not world.workers[0].edge.control_state().error
        assert {*world.workers[0].edge.services} == {"shop"}
        assert world.workers[0].edge.services["shop"] is before
        await client.send(b"more")
        assert await client.receive(4) == b"more"
        await control.remove("shop")
        assert (await client.ended()).reason is te.Reason.EVICTED
