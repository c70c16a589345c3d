"""Services, page by page and the busiest first."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.support.admin import FakeAsker, admin_world, answers
from tests.support.edges import make_edge, services
from tests.support.steps import run_steps
from trioedge.admin.topics.services import collect_services, merge_service, merge_services


def item(name: str, live: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "live": live, "opened": live, "bytes_up": 0, "bytes_down": 0, "sources": live, "quota_used": None,
        "refusal": None, "listen_errors": [],
    } | changes  # fmt: skip


async def test_one_service_shows_its_limits_and_their_use(autojump_clock: object) -> None:
    policy = te.Policy(
        max_sessions=5, session_rate=2, session_burst=9, down_rate="1 MB/s", quota_bytes=100, quota_used=7
    )
    async with admin_world(make_edge(services(a=policy, b=te.Policy(enabled=False)))) as world:
        await world.edge.connect("192.0.2.1")
        said = await world.get("/v1/services/a")
        other = await world.get("/v1/services/b")
        gone = await world.ask("GET", "/v1/services/c")
    assert (said["live"], said["opened"], said["sources"], said["enabled"]) == (1, 1, 1, True)
    assert (said["max_sessions"], said["session_rate"], said["session_burst"]) == (5, 2, 9)
    assert (said["down_rate"], said["up_rate"], said["quota_bytes"], said["quota_used"]) == (1_000_000, None, 100, 7)
    assert (other["refusal"], other["session_burst"]) == ("service: the service is disabled", None)
    assert (gone.status, gone.json) == (404, {"error": "there is no service 'c'"})


async def test_a_name_with_a_slash_is_one_segment_of_the_path(autojump_clock: object) -> None:
    async with admin_world(make_edge(te.MemoryControl({"a/b ü": te.Policy()}))) as world:
        assert (await world.get("/v1/services/a%2Fb%20%C3%BC"))["name"] == "a/b ü"


@pytest.mark.parametrize(("limit", "pages"), [(1, 7), (3, 3), (7, 1), (1000, 1)])
async def test_pages_by_name_give_each_service_once(autojump_clock: object, limit: int, pages: int) -> None:
    names = {f"s{number}" for number in range(7)}
    async with admin_world(make_edge(te.MemoryControl(dict.fromkeys(names, te.Policy())))) as world:
        seen, after, count = list[str](), "", 0
        while True:
            said = await world.get(f"/v1/services?limit={limit}" + (f"&after={after}" if after else ""))
            seen += [each["name"] for each in said["items"]]
            count += 1
            if said["next"] is None:
                break
            after = said["next"]
    assert (seen, count) == (sorted(names), pages)


async def test_a_prefix_leaves_other_names_out(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(apple=te.Policy(), april=te.Policy(), berry=te.Policy()))) as world:
        said = await world.get("/v1/services?prefix=ap")
    assert [each["name"] for each in said["items"]] == ["apple", "april"]


async def test_the_busiest_come_first_in_one_page(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy(), b=te.Policy(), c=te.Policy()))) as world:
        for source in ("192.0.2.2", "192.0.2.2", "192.0.2.1"):
            client = await world.edge.connect(source)
        await client.send(b"ping")
        await client.receive(4)
        by_live = await world.get("/v1/services?order=live&limit=2")
        by_bytes = await world.get("/v1/services?order=bytes")
        behind = await world.get("/v1/services?order=live&after=x")
    assert ([each["name"] for each in by_live["items"]], by_live["next"]) == (["b", "a"], None)
    assert [each["name"] for each in by_bytes["items"]] == ["a", "b", "c"]
    assert behind == {"items": [], "next": None}


async def test_the_busiest_of_workers_are_those_of_the_largest_sums() -> None:
    asker = FakeAsker(
        {
            "services-busiest": [["a", "b"], ["c", "b"]],
            "services-named": [[item("a", 5), item("b", 4)], [item("c", 5), item("b", 4), item("a", 1)]],
        }
    )
    said = await collect_services(asker, {"order": "live", "after": None, "limit": 2, "prefix": None})
    assert [(each["name"], each["live"]) for each in said["items"]] == [("b", 8), ("a", 6)]
    assert asker.asked[1] == ("services-named", {"names": ["a", "b", "c"]})


def test_one_service_of_several_workers_is_added_up() -> None:
    refused = item("a", 2, refusal="quota: used up", quota_used=30, listen_errors=["x"])
    first = item("a", 1, quota_used=20, listen_errors=["x"])
    said = answers({"items": [first], "next": None}, {"items": [refused], "next": None})
    merged = run_steps(merge_services(said, {"limit": 9}))
    (found,) = merged["items"]
    assert (found["live"], found["refusal"], found["quota_used"], found["listen_errors"]) == (
        3, "quota: used up", 30, ["x"],
    )  # fmt: skip


@given(
    st.lists(st.sets(st.text("abc", min_size=1, max_size=2)), min_size=2, max_size=3),
    st.integers(1, 4),
)
def test_pages_of_several_workers_give_each_name_once(workers: list[set[str]], limit: int) -> None:
    def page(names: set[str], after: str) -> dict[str, Any]:
        left = sorted(name for name in names if name > after)
        found = left[:limit]
        return {"items": [item(name) for name in found], "next": found[-1] if len(left) > limit else None}

    seen, after = list[str](), ""
    while True:
        merged = run_steps(merge_services(answers(*(page(names, after) for names in workers)), {"limit": limit}))
        seen += [each["name"] for each in merged["items"]]
        if merged["next"] is None:
            break
        after = merged["next"]
    assert seen == sorted(set().union(*workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_totals_of_workers_that_are_over_are_in_the_sums(workers: int) -> None:
    gone = {"a": {"opened": 5, "bytes_up": 6, "bytes_down": 7}}
    found = answers(*({"items": [item("a", 1), item("b", 1)], "next": None} for _ in range(workers)))
    found = attrs.evolve(found, past_of=lambda name: gone.get(name, {}))
    merged = run_steps(merge_services(found, {"limit": 10}))
    first, second = merged["items"]
    assert (first["opened"], first["bytes_up"], first["bytes_down"], first["live"]) == (workers + 5, 6, 7, workers)
    assert (second["opened"], second["bytes_up"]) == (workers, 0)
    service = merge_service(attrs.evolve(answers(item("a", 1)), past_of=lambda name: gone.get(name, {})), {"name": "a"})
    assert (service["opened"], service["bytes_down"]) == (6, 7)
