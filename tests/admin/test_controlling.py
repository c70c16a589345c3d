"""The edge as a whole: snapshots and its control plane's state."""

import time

import pytest
import trio

import trioedge as te
from tests.support.admin import STATE, admin_world, ask
from tests.support.edges import make_edge, services
from trioedge.admin.controlling import LocalControl, state_of
from trioedge.edge import local_of
from trioedge.testing.rehearsal import open_edge

CHANGE = b'{"version": "9", "full": false}\n{"name": "a", "max_sessions": 1}\n{"removed": "b"}\n{"end": 2}\n'


async def test_a_snapshot_is_planned_without_an_effect_and_applied_with_it(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy(), b=te.Policy()))) as world:
        client = await world.edge.connect("192.0.2.2")
        planned = (await ask(world.api, "POST", "/v1/plan", CHANGE)).json
        assert (planned["changed"], planned["removed"], planned["evicted"]) == (1, 1, 1)
        assert [*world.edge.edge.services] == ["a", "b"]
        applied = (await ask(world.api, "POST", "/v1/apply", CHANGE)).json
        assert applied == planned
        assert [*world.edge.edge.services] == ["a"]
        assert world.edge.edge.services["a"].max_sessions == 1
        assert (await client.ended()).reason is te.Reason.EVICTED
        assert (await world.get("/v1/state"))["version"] == "9"


async def test_a_snapshot_with_a_fault_is_not_applied(autojump_clock: object) -> None:
    lines = b'{"version": "9", "full": false}\n{"name": "a", "max_sessions": 0}\n{"end": 1}\n'
    async with admin_world(make_edge(services(a=te.Policy(max_sessions=3)))) as world:
        answer = await ask(world.api, "POST", "/v1/apply", lines)
        assert answer.status == 422
        assert answer.json["faults"][0].startswith("services.a.max_sessions = 0")
        assert world.edge.edge.services["a"].max_sessions == 3


async def test_an_edge_without_a_control_plane_takes_no_snapshot(autojump_clock: object) -> None:
    edge = te.Edge("tcp://127.0.0.1:1", [], te.Forward("tcp://192.0.2.9:1"))
    async with admin_world(edge) as world:
        for path in ("/v1/plan", "/v1/apply"):
            answer = await ask(world.api, "POST", path, CHANGE)
            assert (answer.status, [*answer.json]) == (409, ["error"])


async def test_a_drain_is_passed_on(autojump_clock: object) -> None:
    edge, drained = make_edge(services()), list[float | None]()
    async with open_edge(edge):
        LocalControl(local_of(edge), edge.stage_keys, drained.append).drain(None)
    assert drained == [None]


@pytest.mark.parametrize("seconds", [0.0, 100.0])
async def test_times_of_the_state_are_those_of_the_calendar(seconds: float) -> None:
    state = te.ControlState("7", trio.current_time() - seconds, 2, "gone", trio.current_time(), "", 3, 4)
    found = state_of(state)
    assert abs(found["applied_at"] - (time.time() - seconds)) < 5
    assert abs(found["failing_since"] - time.time()) < 5
    assert state_of(STATE)["failing_since"] is None
