"""Evictions over the admin API."""

from typing import Any

import pytest

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.refusals import RefusedError
from trioedge.admin.topics.evict import merge_evicted, merge_evicted_one


@pytest.mark.parametrize(
    ("body", "evicted"),
    [
        ({"service": "a"}, {1, 3}),
        ({"source": "192.0.2.0/24"}, {1, 2}),
        ({"source": "2001:db8::1", "service": "a"}, {3}),
        ({"source": "2001:db8::1", "service": "b"}, set()),
        ({"service": "b", "device": "192.0.2.2"}, {2}),
        ({"session": 3}, {3}),
        ({"session": 3.0}, {3}),
        ({"session": 99}, set()),
        ({"session": 3, "service": "b"}, set()),
    ],
)
async def test_sessions_that_match_all_are_cut(autojump_clock: object, body: dict[str, Any], evicted: set[int]) -> None:
    async with admin_world(make_edge(services(a=te.Policy(), b=te.Policy()), te.DeviceLimit())) as world:
        clients = [await world.edge.connect(source) for source in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]
        answer = await world.ask("POST", "/v1/evict", body)
        assert (answer.status, answer.json) == (200, {"evicted": len(evicted)})
        assert {each.session.id for each in clients if each.session.cut_reason is te.Reason.EVICTED} == evicted


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, "body: must name service or source or session"),
        ({"device": "x"}, "body.device: needs its service, because devices are a service's own"),
        (
            {"source": "x"},
            "body.source: 'x' must be an IP address, a prefix such as 192.0.2.0/24, or 'unix'",
        ),
        ({"source": 7}, "body.source: 7 must be text"),
        ({"service": ""}, "body.service: '' must be text of 1 to 255 letters"),
        ({"service": None}, "body.service: None must be text"),
        ({"session": -1}, "body.session: -1 must be a number from 1 to 9,223,372,036,854,775,807"),
        ({"session": True}, "body.session: True must be a whole number"),
        ({"session": 1.5}, "body.session: 1.5 must be a whole number"),
        ({"sesion": 1}, "body: has no 'sesion' (did you mean session?)"),
    ],
)
async def test_a_body_with_a_fault_cuts_none(autojump_clock: object, body: dict[str, Any], fault: str) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.1")
        answer = await world.ask("POST", "/v1/evict", body)
        assert (answer.status, answer.json["faults"][0]) == (422, fault)
        assert client.session.cut_reason is None


async def test_one_session_is_cut_once(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.1")
        answer = await world.ask("DELETE", "/v1/sessions/1")
        assert (answer.status, answer.json) == (200, {"evicted": 1})
        assert (await client.ended()).reason is te.Reason.EVICTED
        assert (await world.ask("DELETE", "/v1/sessions/1")).status == 404


def test_the_session_of_another_worker_is_found() -> None:
    assert merge_evicted(answers(2, 3), {}) == {"evicted": 5}
    assert merge_evicted_one(answers(0, 1), {"id": 7}) == {"evicted": 1}
    with pytest.raises(RefusedError, match="there is no live session 7"):
        merge_evicted_one(answers(0, 0), {"id": 7})
