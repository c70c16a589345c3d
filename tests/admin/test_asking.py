"""Questions to the processes of an edge."""

import os

import trio

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.asking import LocalAsker
from trioedge.admin.operations import LOCAL


async def test_an_edge_alone_answers_as_worker_0(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        found = await LocalAsker(world.local, LOCAL).ask("service", {"name": "a"})
        world.edge.edge.drain()
        await world.edge.connect()
    (answer,) = found.given
    assert (answer.worker.number, answer.worker.pid, answer.worker.state) == (0, os.getpid(), "ready")
    assert (found.values[0]["name"], found.missing) == ("a", ())


async def test_it_works_in_slices() -> None:
    control = te.MemoryControl({f"s{number}": te.Policy() for number in range(2_000)})
    async with admin_world(make_edge(control)) as world:
        turns, over = 0, False

        async def watch() -> None:
            nonlocal turns
            while not over:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await LocalAsker(world.local, LOCAL).ask(
                "services", {"after": None, "limit": 1_000, "prefix": None, "order": "name"}
            )
            over = True
    assert turns > 3


def test_answers_name_those_that_are_missing() -> None:
    found = answers(1, None, 3)
    assert (found.values, [each.number for each in found.missing]) == ([1, 3], [1])
