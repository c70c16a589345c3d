"""Totals over several workers, as the control plane gets them."""

import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import by_source, counted, make_control, talk
from tests.support.workers import open_workers


async def test_totals_of_workers_are_added_up(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        for number in range(2):
            await talk(world, number, f"192.0.2.{number}")
        await trio.sleep(6)
        totals = control.totals("shop")
        assert (totals.bytes_up, totals.bytes_down, totals.opened, totals.live, totals.sources) == (8, 8, 2, 2, 2)
        assert len({report.epoch for report in control.reports}) == 1


async def test_the_totals_of_a_dead_worker_stay_and_its_sessions_do_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await trio.sleep(1.5)
        world.workers[0].scope.cancel()
        await trio.sleep(6)
        assert counted(control) == (8, 2, 1)
        world.add_worker(column=0, generation=1)  # in its place
        await world.workers[2].serving.wait()
        await talk(world, 2)
        await trio.sleep(6)
        assert counted(control) == (12, 3, 2)


async def test_a_lost_connection_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        for pause in (0.3, 1, 3, 5):
            await trio.sleep(pause)
            world.cut_connections()
            await talk(world, 0)
        await trio.sleep(45)  # the pauses of reports that failed grow to half a minute
        assert counted(control) == (20, 5, 5)


async def test_the_last_totals_of_a_removed_service_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await control.remove("shop")
        await control.put("shop", te.Policy())
        await talk(world, 1)
        await trio.sleep(8)
        assert counted(control) == (12, 3, 1)
        assert len({usage.incarnation for report in control.reports for usage in report.services}) == 2
