"""The listeners of services, as the API gives them for one process and for several."""

from typing import Any

import attrs

import trioedge as te
from tests.support.admin import STATE, admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.topics.listeners import with_listeners
from trioedge.errors import MAX_FAULTS


def said(count: int, *errors: str, failing: int | None = None) -> dict[str, Any]:
    return {"open": count, "failing": len(errors) if failing is None else failing, "errors": [*errors]}


async def test_one_process_gives_its_own(autojump_clock: object) -> None:
    control = services(a=te.Policy(listen=("tcp://0.0.0.0:20001", "tcp://0.0.0.0:20002")))
    async with admin_world(make_edge(control, open_ports="tcp://0.0.0.0:20000-20100")) as world:
        state = await world.get("/v1/state")
        assert (state["listeners"], state["listen_errors"]) == (2, [])
        assert b"trioedge_service_listeners 2\n" in (await world.ask("GET", "/metrics")).body


def test_those_of_several_are_added_up_and_one_that_does_not_answer_has_none() -> None:
    given = answers(said(2, "1: in use"), None, said(3, "2: in use", "3: in use"))
    state = with_listeners(STATE, given)
    assert state == attrs.evolve(STATE, listeners=5, listen_errors=("1: in use", "2: in use", "3: in use"))


def test_more_than_a_hundred_faults_are_counted() -> None:
    many = [f"{number}: in use" for number in range(MAX_FAULTS)]
    state = with_listeners(STATE, answers(said(0, *many, failing=1_100), said(0, "x: in use")))
    assert (state.listen_errors[:MAX_FAULTS], state.listen_errors[MAX_FAULTS:]) == ((*many,), ("and 1,001 more",))
