"""Quotas over a control process and workers: the count, its corrections by the control plane, and deaths."""

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.shared_memory import small_limits
from tests.support.workers import Workers, open_workers
from trioedge.testing import Client


def compose(control: te.ControlPlane | None) -> te.Edge:
    stages = [te.Identify("shop")]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control, report_seconds=2)


async def talk(world: Workers, worker: int, count: int) -> Client:
    """Connect a client that moves so many bytes up and as many down."""
    client = await world.workers[worker].world.connect()
    await client.send(b"x" * count)
    assert await client.receive(count) == b"x" * count
    return client


def used(world: Workers) -> set[int]:
    assert world.hub is not None
    process = world.hub._edges["edge"].supervisor
    services = [process.services.get("shop"), *(worker.edge.services.get("shop") for worker in world.workers)]
    return {service.quota_used for service in services if service is not None}


def of(quota_bytes: int, quota_used: int = 0) -> te.Policy:
    return te.Policy(quota_bytes=quota_bytes, quota_used=quota_used)


async def test_a_quota_that_both_workers_use_up_cuts_idle_sessions_of_both_within_a_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_workers(compose, te.MemoryControl({"shop": of(1_000)}), limits=small_limits()) as world:
        idle = [await talk(world, worker, 1) for worker in (0, 1)]
        await talk(world, 0, 240)
        assert used(world) == {484}
        await talk(world, 1, 257)
        busy = await world.workers[0].world.connect()
        await busy.send(b"x" * 50)
        with trio.fail_after(0.3):
            for client in (*idle, busy):
                assert (await client.ended()).reason is te.Reason.QUOTA
        for worker in world.workers:
            refused = await worker.world.connect()
            assert (await refused.ended()).reason is te.Reason.QUOTA


async def test_a_control_plane_that_adds_up_reports_corrects_the_count_of_all_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = te.MemoryControl({"shop": of(10_000)})
    async with open_workers(compose, control, limits=small_limits()) as world:
        await talk(world, 0, 100)
        await talk(world, 1, 200)
        await trio.sleep(10)
        totals = control.totals("shop")
        assert totals.bytes_up + totals.bytes_down == 600
        await talk(world, 1, 10)
        await control.put("shop", of(10_000, 600))
        assert used(world) == {620}, "the last 20 were in no report"
        await trio.sleep(10)
        await control.put("shop", of(10_000, 700))
        assert used(world) == {700}, "another edge has moved 80"
        await talk(world, 0, 5)
        await control.put("shop", of(10_000, 0))
        assert used(world) == {10}, "a new period"


@pytest.mark.parametrize("dies", ["the control process", "a worker"])
async def test_the_count_goes_on_when_a_process_is_replaced(autojump_clock: trio.testing.MockClock, dies: str) -> None:
    control, limits = te.MemoryControl({"shop": of(10_000, 7)}), small_limits()
    async with open_workers(compose, control, limits=limits) as world:
        await talk(world, 0, 100)
        await talk(world, 1, 200)
        await trio.sleep(10)
        if dies == "a worker":
            world.workers[0].scope.cancel()
            await world.workers[0].ended.wait()
            limits.release(0)
            world.workers.pop(0)
        else:
            world.kill_hub()
            limits.release(7)
            await world.start_hub()
            await trio.sleep(10)
        assert used(world) == {607}
        await talk(world, 0, 4)
        assert used(world) == {615}
        await control.put("shop", of(10_000, 0))
        assert used(world) == {8}


async def test_a_service_that_is_removed_and_named_again_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    control = te.MemoryControl({"shop": of(10_000)})
    async with open_workers(compose, control, limits=small_limits()) as world:
        await talk(world, 0, 100)
        await control.remove("shop")
        await control.put("shop", of(10_000, 3))
        assert used(world) == {3}
        await talk(world, 1, 50)
        assert used(world) == {103}
