"""The upstreams of an edge."""

from contextlib import suppress
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from tests.support.wires import server
from trioedge.admin.asking import LocalAsker
from trioedge.admin.operations import LOCAL
from trioedge.admin.topics.upstreams import merge_upstreams
from trioedge.edge import local_of
from trioedge.telemetry.histogram import Histogram


def said(address: str, times: Histogram, **changes: Any) -> dict[str, Any]:
    item = {
        "address": address, "group": "", "healthy": True, "in_flight": 1, "connects": times.count, "failures": 0,
        "connect_ms": {}, "last_error": "", "idle": 2,
    } | changes  # fmt: skip
    return {"item": item, "times": (times.counts, times.nanoseconds, times.longest)}


async def test_upstreams_of_policies_and_members_of_a_group_are_told(autojump_clock: object) -> None:
    control = services(
        a=te.Policy(destination="tcp://192.0.2.9:1"), b=te.Policy(destination="tcp://192.0.2.9:2"),
        c=te.Policy(outbound="pool"),
    )  # fmt: skip
    pool = te.Balanced(["tcp://192.0.2.8:1", "tcp://192.0.2.8:2"])
    async with admin_world(make_edge(control, endpoint=te.Forward(), outbounds={"pool": pool})) as world:
        items = (await world.get("/v1/upstreams"))["items"]
        first = await world.get("/v1/upstreams?limit=1")
    assert [(each["group"], each["address"], each["healthy"], each["connects"]) for each in items] == [
        ("pool", "tcp://192.0.2.8:1", True, 0), ("pool", "tcp://192.0.2.8:2", True, 0),
        ("", "tcp://192.0.2.9:1", True, 0), ("", "tcp://192.0.2.9:2", True, 0),
    ]  # fmt: skip
    assert items[0]["connect_ms"] == {"p50": None, "p99": None, "max": None}
    assert (len(first["items"]), first["next"]) == (1, None)


async def test_a_dead_upstream_is_first_with_its_error() -> None:
    async with server() as port, trio.open_nursery() as nursery:
        control = te.MemoryControl(
            {
                "default": te.Policy(destination=f"tcp://127.0.0.1:{port}"),
                "dead": te.Policy(destination="tcp://127.0.0.1:1"),
            }
        )
        names = iter(["default", "dead"])
        forward = te.Forward(allow="loopback", retries=0)
        edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(lambda _: next(names))], forward, control=control)
        await nursery.start(edge.serve)
        for _ in range(2):
            with suppress(OSError, trio.BrokenResourceError):  # the second client is reset, at any time
                async with await trio.open_tcp_stream("127.0.0.1", int(edge.addresses[0].rpartition(":")[2])) as client:
                    await client.send_all(b"ping")
                    await client.receive_some(4)
        asked = await LocalAsker(local_of(edge), LOCAL).ask("upstreams", {"limit": 10})
        dead, well = merge_upstreams(asked, {"limit": 10})["items"]
        nursery.cancel_scope.cancel()
    assert (dead["healthy"], dead["failures"], dead["connects"]) == (False, 1, 0)
    assert "refused" in dead["last_error"].lower()
    assert (well["healthy"], well["failures"], well["connects"]) == (True, 0, 1)


def test_times_of_workers_are_merged_and_one_ill_answer_counts() -> None:
    fast, slow = Histogram(), Histogram()
    for _ in range(99):
        fast.add(0.001)
    slow.add(0.5)
    ill = said("b", slow, healthy=False, failures=3, last_error="refused")
    found = merge_upstreams(answers([said("a", fast), said("b", fast)], [ill], None), {"limit": 9})["items"]
    assert [each["address"] for each in found] == ["b", "a"]
    assert (found[0]["connects"], found[0]["in_flight"], found[0]["idle"], found[0]["failures"]) == (100, 2, 4, 3)
    assert (found[0]["healthy"], found[0]["last_error"], found[0]["connect_ms"]["max"]) == (False, "refused", 500.0)
    assert found[0]["connect_ms"]["p50"] == pytest.approx(1, rel=0.5)
