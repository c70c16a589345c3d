"""The edge in this process."""

import time

import trioedge as te
from tests.support.admin import admin_world
from tests.support.edges import make_edge, services
from trioedge.edge import local_of
from trioedge.testing.rehearsal import open_edge


async def test_ends_are_kept_only_while_they_are_recorded(autojump_clock: object) -> None:
    edge = make_edge(services(a=te.Policy()))
    async with open_edge(edge) as world:
        local = local_of(edge, 3)
        await world.connect("192.0.2.9")
        assert (local.number, local.run.log.ends.read) == (3, False)
        with local.recording():
            await world.connect("192.0.2.9")
            assert local.run.log.ends.total == 1
        assert not local.run.log.ends.read


async def test_a_time_of_the_edge_is_one_since_1970(autojump_clock: object) -> None:
    async with admin_world(make_edge(services())) as world:
        assert abs(world.local.unix_time(world.local.now() - 100) - (time.time() - 100)) < 5
