"""The sessions that have ended since a reader looked last."""

import os

import trioedge as te
from tests.support.admin import admin_world
from tests.support.edges import make_edge, services
from trioedge.admin.topics.ends import MAX_ITEMS, ends_here, merged_ends, place_of
from trioedge.loop.slices import in_slices

PLACE = place_of(0, os.getpid())


async def test_a_reader_gets_what_ended_since_its_position_and_the_number_of_the_rest(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        await world.edge.connect("192.0.2.9")
        first = await in_slices(ends_here(world.local, {"seen": None}))
        assert (first["position"], first["items"], first["lost"]) == (1, [], 0), "it begins now"
        for _ in range(2):
            await world.edge.connect("192.0.2.9")
        more = await in_slices(ends_here(world.local, {"seen": {PLACE: 1}}))
        assert ([each["id"] for each in more["items"]], more["lost"], more["position"]) == ([2, 3], 0, 3)
        for _ in range(MAX_ITEMS + 10):
            await world.edge.connect("192.0.2.9")
        many = await in_slices(ends_here(world.local, {"seen": {PLACE: 3}}))
        assert (len(many["items"]), many["lost"], many["items"][-1]["id"]) == (MAX_ITEMS, 10, MAX_ITEMS + 13)
        new = await in_slices(ends_here(world.local, {"seen": {"0:1": 7}}))
        assert new["lost"] == 13, "a process that the reader does not know is told from its start"


def test_ends_of_workers_are_in_the_order_of_their_times() -> None:
    one = {"place": "0:1", "position": 5, "items": [{"ended_at": 1.0}, {"ended_at": 3.0}], "lost": 2}
    other = {"place": "1:2", "position": 7, "items": [{"ended_at": 2.0}], "lost": 1}
    assert merged_ends([one, other]) == (
        {"0:1": 5, "1:2": 7}, [{"ended_at": 1.0}, {"ended_at": 2.0}, {"ended_at": 3.0}], 3,
    )  # fmt: skip
