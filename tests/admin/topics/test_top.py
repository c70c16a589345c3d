"""The busiest sources, services and devices."""

import pytest
import trio.testing

import trioedge as te
from tests.support.admin import FakeAsker, World, admin_world
from tests.support.edges import make_edge, services
from tests.support.steps import longest_step
from trioedge.admin.topics.top import SESSIONS_A_STEP, collect_top, top_named_here


async def fill(world: World) -> None:
    for source, count in (("192.0.2.1", 1), ("192.0.2.2", 3), ("2001:db8::1", 2)):
        for _ in range(count):
            client = await world.edge.connect(source)
        if source == "192.0.2.1":
            await client.send(b"ping")
            await client.receive(4)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", [("192.0.2.2", None, 3), ("2001:db8::/64", None, 2), ("192.0.2.1", None, 1)]),
        ("?order=bytes&limit=1", [("192.0.2.1", None, 1)]),
        ("?by=service", [("a", None, 3), ("b", None, 3)]),
        ("?by=service&order=bytes&limit=1", [("a", None, 3)]),
        ("?by=device", [("192.0.2.2", "b", 3), ("2001:db8::/64", "a", 2), ("192.0.2.1", "a", 1)]),
    ],
)
async def test_the_busiest_are_first(
    autojump_clock: object, query: str, rows: list[tuple[str, str | None, int]]
) -> None:
    async with admin_world(make_edge(services(a=te.Policy(), b=te.Policy()), te.DeviceLimit())) as world:
        await fill(world)
        said = await world.get(f"/v1/top{query}")
    assert [(each["key"], each["service"], each["live"]) for each in said["items"]] == rows


async def test_a_source_that_has_gone_is_not_there(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.1")
        await client.close()
        await client.ended()
        assert (await world.get("/v1/top"))["items"] == []


async def test_the_busiest_of_workers_are_those_of_the_largest_sums() -> None:
    asker = FakeAsker(
        {
            "top": [[("", "x", 5, 1, 1), ("", "y", 4, 1, 1)], [("", "z", 5, 1, 1), ("", "y", 4, 1, 1)]],
            "top-named": [
                [("", "x", 5, 1, 1), ("", "y", 4, 1, 1)],
                [("", "z", 5, 1, 1), ("", "y", 4, 1, 1), ("", "x", 1, 0, 0)],
            ],
        }
    )
    said = await collect_top(asker, {"by": "source", "order": "live", "limit": 2})
    assert [(each["key"], each["live"], each["bytes_up"]) for each in said["items"]] == [("y", 8, 2), ("x", 6, 1)]
    assert asker.asked[1][1]["keys"] == [("", "x"), ("", "y"), ("", "z")]


async def test_keys_that_are_not_asked_for_are_steps_too(autojump_clock: object) -> None:
    stages = [te.Identify(lambda _: "a")]
    edge = te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://192.0.2.9:6379"), control=services(a=te.Policy()))
    async with admin_world(edge) as world:
        for number in range(1, 200):
            await world.edge.connect(f"192.0.2.{number}")
        await trio.testing.wait_all_tasks_blocked()
        wanted = {"by": "source", "keys": [["", "192.0.2.7"]]}
        steps, _, rows = longest_step(top_named_here(world.local, wanted))
    assert [row[1] for row in rows] == ["192.0.2.7"]
    assert steps >= 199 // SESSIONS_A_STEP
