"""Live sessions, page by page."""

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import trioedge as te
from tests.support.admin import World, admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.topics.sessions import merge_sessions
from trioedge.testing.rehearsal import Client


async def pages(world: World, query: str = "", limit: int = 2) -> list[int]:
    seen, after = list[int](), 0
    while True:
        said = await world.get(f"/v1/sessions?limit={limit}&after={after}{query}")
        seen += [each["id"] for each in said["items"]]
        if said["next"] is None:
            return seen
        after = said["next"]


async def test_a_session_shows_its_client_its_upstream_and_its_bytes(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.1")
        await client.send(b"ping")
        await client.receive(4)
        await trio.sleep(3)
        (said,) = (await world.get("/v1/sessions"))["items"]
    assert said == {
        "id": 1, "worker": 0, "service": "a", "source": "192.0.2.1", "peer": "192.0.2.1", "device": None,
        "listener": "tcp://127.0.0.1:6380", "upstream": "tcp://192.0.2.9:6379", "phase": "relaying",
        "age_seconds": 3.0, "idle_seconds": 3.0, "bytes_up": 4, "bytes_down": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("&service=a", [1, 3, 4, 6]),
        ("&service=none", []),
        ("&source=192.0.2.1", [1, 4]),
        ("&source=192.0.2.0/24", [1, 2, 4, 5]),
        ("&source=2001:DB8::0:1", [3, 6]),
        ("&source=2001:db8::/32&service=a", [3, 6]),
        ("&source=unix", []),
        ("&device=none", []),
    ],
)
async def test_filters_leave_out_what_they_do_not_match(autojump_clock: object, query: str, ids: list[int]) -> None:
    async with admin_world(make_edge(services(a=te.Policy(), b=te.Policy()))) as world:
        for _ in range(2):
            for source in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
                await world.edge.connect(source)
        assert await pages(world, query) == ids


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["come", "go first", "go last", "page"]), max_size=40), st.integers(1, 4))
def test_a_session_that_lives_for_all_pages_is_in_one_of_them(moves: list[str], limit: int) -> None:
    async def run() -> None:
        async with admin_world(make_edge(services(a=te.Policy()))) as world:
            live: list[Client] = [await world.edge.connect("192.0.2.1") for _ in range(5)]
            lasting = {client.session.id for client in live}
            seen, after, done = list[int](), 0, False
            for move in [*moves, *["page"] * 60]:
                if move == "come":
                    live.append(await world.edge.connect("192.0.2.1"))
                elif move != "page" and live:
                    client = live.pop(0 if move == "go first" else -1)
                    lasting.discard(client.session.id)
                    world.edge.edge.evict(session=client.session.id)
                elif move == "page" and not done:
                    said = await world.get(f"/v1/sessions?limit={limit}&after={after}")
                    ids = [each["id"] for each in said["items"]]
                    assert len(ids) <= limit
                    seen += ids
                    done = said["next"] is None
                    after = said["next"] or 0
            assert done
            assert seen == sorted(set(seen)), "in order, and none twice"
            assert lasting <= set(seen)

    trio.run(run, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.sets(st.integers(1, 60)), min_size=2, max_size=3), st.integers(1, 4))
def test_pages_of_several_workers_give_each_session_once(workers: list[set[int]], limit: int) -> None:
    owned = [{3 * number + place for number in ids} for place, ids in enumerate(workers)]

    def page(ids: set[int], after: int) -> dict[str, Any]:
        left = sorted(number for number in ids if number > after)
        found = left[:limit]
        return {"items": [{"id": each} for each in found], "next": found[-1] if len(left) > limit else None}

    seen, after = list[int](), 0
    while True:
        merged = merge_sessions(answers(*(page(ids, after) for ids in owned)), {"limit": limit})
        seen += [each["id"] for each in merged["items"]]
        if merged["next"] is None:
            break
        after = merged["next"]
    assert seen == sorted(set().union(*owned))
