"""The life of a worker process over its connections."""

import trio
import trio.testing

from tests.support.worker_edges import by_source, counted, make_control, talk
from tests.support.workers import open_workers


async def test_a_connection_that_comes_back_is_the_same_life_and_another_process_with_the_column_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        await trio.sleep(4)
        assert counted(control) == (4, 1, 1)
        world.cut_connections()
        await trio.sleep(40)
        assert counted(control) == (4, 1, 1), "it is the same life"
        world.workers[0].scope.cancel()
        world.add_worker(column=0, generation=1)
        await world.workers[2].serving.wait()
        await trio.sleep(0.5)  # sooner than a lost worker is given up
        assert world.hub is not None
        assert [each.number for each in world.hub.state("edge").workers] == [1, 2]
        await talk(world, 2)
        await trio.sleep(6)
        assert counted(control) == (8, 2, 1), "its totals began at 0, and its forerunner's session is gone"
