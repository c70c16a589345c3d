"""What a worker says of its services to one control process after the other."""

import trio
import trio.testing

from tests.support.worker_edges import by_source, counted, make_control, talk
from tests.support.workers import open_workers


async def test_another_control_process_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        await trio.sleep(6)
        assert counted(control) == (4, 1, 1)
        world.kill_hub()
        await client.send(b"more")
        await trio.sleep(1)
        await world.start_hub()
        await trio.sleep(45)
        assert len({report.epoch for report in control.reports}) == 2
        assert counted(control)[:2] == (8, 1)
        await client.close()
        await control.remove("shop")
        await trio.sleep(6)
        assert counted(control)[:2] == (8, 1)
