"""Sessions and their explanations: live, ended and refused."""

import pytest
import trio

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.topics.explain import merge_recent


async def test_a_live_session_is_explained_stage_by_stage(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        await world.edge.connect("192.0.2.1")
        said = await world.get("/v1/sessions/1")
    assert (said["session"]["id"], said["outcome"]) == (1, "")
    assert [(each["stage"], each["verdict"]) for each in said["steps"]][:2] == [
        ("Identify", "continue"), ("SessionGate", "continue"),
    ]  # fmt: skip
    assert said["steps"][0]["micros"] >= 0
    assert said["says"].startswith("session 1 of a from 192.0.2.1")


async def test_a_refused_session_names_its_stage_and_why(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy(reject=("192.0.2.1",))))) as world:
        await world.edge.connect("192.0.2.1")
        said = await world.get("/v1/sessions/1")
        (recent,) = (await world.get("/v1/recent"))["items"]
    assert said["outcome"].startswith("source")
    assert said["steps"][-1]["stage"] == "SourceMatch"
    assert said["steps"][-1]["verdict"] == "source"
    assert (recent["kind"], recent["reason"], recent["stage"]) == ("refused", "source", "SourceMatch")
    assert recent["steps"] == said["steps"]


async def test_an_ended_session_keeps_its_age_at_its_end(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.1")
        await trio.sleep(5)
        await client.close()
        await client.ended()
        await trio.sleep(100)
        said = await world.get("/v1/sessions/1")
        (recent,) = (await world.get("/v1/recent?kind=ended"))["items"]
    assert (said["session"]["age_seconds"], recent["seconds"], recent["idle_seconds"]) == (5.0, 5.0, None)
    assert recent["ended_at"] > 1e9


async def test_an_unknown_session_is_404(autojump_clock: object) -> None:
    async with admin_world(make_edge(services())) as world:
        for target in ("/v1/sessions/7", f"/v1/sessions/{2**63 - 1}"):
            answer = await world.ask("GET", target)
            assert answer.status == 404
            assert "there is no session" in answer.json["error"]
        assert (await world.ask("GET", "/v1/sessions/0")).status == 422
        assert (await world.ask("GET", f"/v1/sessions/{2**63}")).status == 422
        assert (await world.ask("GET", "/v1/sessions/x")).status == 422


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [4, 3, 2, 1]),
        ("?limit=2", [4, 3]),
        ("?source=192.0.2.1", [3, 1]),
        ("?source=2001:db8::/32", [4]),
        ("?service=a", [4, 3, 1]),
        ("?kind=refused", [2]),
        ("?kind=ended", [4, 3, 1]),
        ("?kind=failed", [4, 3, 2, 1]),
        ("?reason=service", [2]),
        ("?reason=finished&kind=refused", []),
    ],
)
async def test_recent_ends_are_the_latest_first_and_filtered(
    autojump_clock: object, query: str, ids: list[int]
) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        for source in ("192.0.2.1", "192.0.2.9", "192.0.2.1", "2001:db8::1"):
            client = await world.edge.connect(source)
            world.edge.edge.evict(session=client.session.id)
            await client.ended()
        assert [each["id"] for each in (await world.get(f"/v1/recent{query}"))["items"]] == ids


async def test_what_failed_was_refused_or_cut_or_found_no_upstream_and_was_not_ended_by_a_side(
    autojump_clock: object,
) -> None:
    edge = make_edge(services(a=te.Policy()))
    async with admin_world(edge) as world:
        async with trio.open_nursery() as nursery:
            for ends in (False, True):
                client = await world.edge.connect("192.0.2.1")
                if ends:
                    nursery.start_soon(client.close)
                else:
                    edge.evict(session=client.session.id)
                await client.ended()
        await world.edge.connect("192.0.2.9")
        failed = (await world.get("/v1/recent?kind=failed"))["items"]
        reasons = {each["reason"] for each in (await world.get("/v1/recent"))["items"]}
        assert reasons == {"evicted", "finished", "service"}
    assert [(each["id"], each["kind"], each["reason"]) for each in failed] == [
        (3, "refused", "service"), (1, "ended", "evicted"),
    ]  # fmt: skip


async def test_no_more_than_a_thousand_ends_are_kept(autojump_clock: object) -> None:
    async with admin_world(make_edge(services())) as world:
        for _ in range(1_100):
            await world.edge.connect("192.0.2.9")
        items = (await world.get("/v1/recent?limit=1000"))["items"]
    assert [items[0]["id"], items[-1]["id"], len(items)] == [1_100, 101, 1_000]


def test_ends_of_workers_are_merged_by_time() -> None:
    first, second = [{"ended_at": 5.0}, {"ended_at": 1.0}], [{"ended_at": 3.0}]
    merged = merge_recent(answers(first, second), {"limit": 2})
    assert merged == {"items": [{"ended_at": 5.0}, {"ended_at": 3.0}], "next": None}
