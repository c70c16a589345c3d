"""The devices of a service."""

from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.refusals import RefusedError
from trioedge.admin.topics.devices import merge_devices


def item(device: str, state: str = "fresh", sessions: int = 1, since: float | None = 1.0) -> dict[str, Any]:
    return {"device": device, "state": state, "sessions": sessions, "since": since, "until": None, "detail": ""}


async def test_devices_show_their_verdict_and_for_how_long(autojump_clock: object) -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        if device == "192.0.2.1":
            return te.DeviceVerdict(True, seconds=100)
        if device == "192.0.2.2":
            return te.DeviceVerdict(False, seconds=100, detail="stolen")
        await trio.sleep_forever()
        raise AssertionError

    names = {"192.0.2.1": "a", "192.0.2.2": "a", "192.0.2.3": "a"}
    control = services(a=te.Policy(), b=te.Policy())
    edge = te.Edge(
        "tcp://127.0.0.1:6380", [te.Identify(lambda each: names[each.source]), te.DeviceLimit(check=check)],
        te.Forward("tcp://192.0.2.9:1"), control=control,
    )  # fmt: skip
    async with admin_world(edge) as world:
        for source in names:
            await world.edge.connect(source)
        await trio.sleep(2)
        one, two, three = (await world.get("/v1/services/a/devices"))["items"]
        page = await world.get("/v1/services/a/devices?limit=1&after=192.0.2.1")
        assert (await world.get("/v1/services/b/devices"))["items"] == []
        assert (await world.ask("GET", "/v1/services/c/devices")).status == 404
    assert (one["device"], one["state"], one["sessions"], one["since"]) == ("192.0.2.1", "fresh", 1, 2.0)
    assert 85 < one["until"] <= 98
    assert (two["state"], two["detail"], two["sessions"], two["since"]) == ("denied", "stolen", 0, None)
    assert (three["state"], three["detail"]) == ("unknown", "in grace")
    assert 0 < three["until"] <= 10
    assert ([each["device"] for each in page["items"]], page["next"]) == (["192.0.2.2"], "192.0.2.2")


async def test_an_edge_without_a_device_limit_has_no_devices(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        await world.edge.connect("192.0.2.1")
        assert await world.get("/v1/services/a/devices") == {"items": [], "next": None}


def test_a_device_of_several_workers_is_one_and_the_surest_state_counts() -> None:
    merged = merge_devices(
        answers(
            {"items": [item("a", "unknown"), item("b")], "next": None},
            {"items": [item("a", "denied", 2, 5.0), item("c")], "next": "c"},
            None,
        ),
        {"name": "s", "limit": 2},
    )  # fmt: skip
    assert merged == {"items": [item("a", "denied", 3, 5.0), item("b")], "next": "b"}
    with pytest.raises(RefusedError, match="there is no service 's'"):
        merge_devices(answers(None, None), {"name": "s", "limit": 2})
