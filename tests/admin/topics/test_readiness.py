"""Readiness and drain."""

from math import inf

import attrs
import trio

import trioedge as te
from tests.support.admin import admin_world, answers, api_of, ask
from tests.support.edges import make_edge, services
from trioedge.admin.asking import WorkerFacts
from trioedge.admin.topics.readiness import merge_drain, merge_ready


async def test_an_edge_is_ready_until_it_drains(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()), drain_seconds=30)) as world:
        await world.edge.connect("192.0.2.1")
        assert await world.get("/health") == {"status": "ok"}
        assert await world.get("/ready") == {"ready": True, "phase": "serving", "workers": 1, "workers_ready": 1}
        assert await world.get("/v1/drain") == {"phase": "serving", "live": 1, "deadline_seconds": None}
        world.edge.edge.drain()
        await trio.sleep(10)
        answer = await world.ask("GET", "/ready")
        assert (answer.status, answer.json["ready"], answer.json["phase"]) == (503, False, "draining")
        assert await world.get("/v1/drain") == {"phase": "draining", "live": 1, "deadline_seconds": 20.0}
        again = await world.ask("POST", "/v1/drain", {"seconds": 5})
        assert again.json == {"phase": "draining", "live": 1, "deadline_seconds": 20.0}, "the first one counts"


async def test_a_drain_may_have_seconds_of_its_own(autojump_clock: object) -> None:
    edge = make_edge(services(a=te.Policy()), drain_seconds=30)
    async with admin_world(edge) as world:
        await world.edge.connect("192.0.2.1")
        answer = await world.ask("POST", "/v1/drain", {"seconds": 7})
        assert (answer.json["deadline_seconds"], world.drained) == (7, [7])
        assert (await world.ask("POST", "/v1/drain")).json["deadline_seconds"] == 30
        world.local.run.drain(7)
        with trio.fail_after(7.1):
            await edge.phase.wait_value("stopped")


async def test_a_drain_without_a_deadline_says_so(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()), drain_seconds=inf)) as world:
        answer = await world.ask("POST", "/v1/drain")
    assert (answer.status, answer.json["phase"], answer.json["deadline_seconds"]) == (200, "draining", None)


async def test_bad_seconds_drain_nothing() -> None:
    for body in (b'{"seconds": -1}', b'{"seconds": 1e999}', b'{"seconds": "7"}', b'{"second": 7}', b"[7]", b"7"):
        assert (await ask(api_of(), "POST", "/v1/drain", body)).status == 422, body


def test_workers_are_ready_once_one_is() -> None:
    starting, serving = {"phase": "starting"}, {"phase": "serving"}
    assert merge_ready(answers(starting, serving), {}) == {
        "ready": True, "phase": "serving", "workers": 2, "workers_ready": 1,
    }  # fmt: skip
    silent = attrs.evolve(answers(starting, None), missing=[WorkerFacts(number=1, pid=7, stall_ms=1_000.0)])
    assert not merge_ready(silent, {})["ready"]
    older = attrs.evolve(silent, missing=[WorkerFacts(number=1, pid=7, stall_ms=90.0)])
    assert merge_ready(older, {}) == {"ready": True, "phase": "serving", "workers": 2, "workers_ready": 1}
    draining = [WorkerFacts(number=1, pid=7, state="draining", stall_ms=90.0)]
    assert not merge_ready(attrs.evolve(silent, missing=draining), {})["ready"]


def test_a_drain_of_workers_lasts_as_long_as_the_longest() -> None:
    one = {"phase": "draining", "live": 2, "deadline_seconds": 3.0}
    other = {"phase": "draining", "live": 1, "deadline_seconds": 5.0}
    assert merge_drain(answers(one, other), {}) == {"phase": "draining", "live": 3, "deadline_seconds": 5.0}
