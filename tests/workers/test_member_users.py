"""Users who log in at a worker, and whose services the control process knows."""

from typing import Any

import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import Kept, by_source
from tests.support.workers import open_workers
from trioedge.services.control_plane import AsksForUsers


async def test_a_user_is_known_in_every_worker(autojump_clock: trio.testing.MockClock) -> None:
    control = Kept({"shop": te.Policy()})
    async with open_workers(by_source, control) as world:
        there: Any = world.workers[0].part.control
        assert isinstance(there, AsksForUsers)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        await there.find_user("bob")
        assert (there.service_of("ann"), there.service_of("bob")) == ("shop", None)
        assert there.knows_user("ann")
        world.kill_hub()
        await trio.sleep(20)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        assert there.service_of("ann") == "shop", "the last answer, because there is no control process"
