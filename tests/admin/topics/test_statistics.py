"""The counts of an edge, in one process and added up."""

from typing import Any

import attrs

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from trioedge.admin.topics.statistics import merge_statistics, phase_of


def counts(**changes: Any) -> dict[str, Any]:
    return {
        "edge": "e", "version": "1", "phase": "serving", "uptime_seconds": 2.0, "accepted": 3, "live": 1,
        "in_handshake": 0, "refused": {"rate": 1}, "ended": {}, "bytes_up": 5, "bytes_down": 7, "observers_lost": 0,
        "api_errors": {}, "members": [],
    } | changes  # fmt: skip


async def test_an_edge_with_a_session_and_a_refusal_counts_both(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()), name="edge-1")) as world:
        client = await world.edge.connect("192.0.2.1")
        await client.send(b"ping")
        await client.receive(4)
        await world.edge.connect("192.0.2.9")
        said = await world.get("/v1/statistics")
    assert (said["edge"], said["phase"], said["accepted"], said["live"]) == ("edge-1", "serving", 2, 1)
    assert (said["refused"], said["bytes_up"], said["bytes_down"]) == ({"service": 1}, 4, 4)
    (worker,) = said["workers"]
    assert (worker["number"], worker["live"], worker["accepted"], worker["state"]) == (0, 1, 2, "ready")


async def test_errors_of_the_api_are_counted_by_status(autojump_clock: object) -> None:
    async with admin_world(make_edge(services())) as world:
        await world.ask("GET", "/v1/none")
        await world.ask("GET", "/v1/sessions?limit=x")
        assert (await world.get("/v1/statistics"))["api_errors"] == {"404": 1, "422": 1}


def test_counts_of_workers_add_up_and_a_silent_one_is_named() -> None:
    member = {"group": "g", "address": "a", "state": "well", "weight": 1.0, "live": 1, "opened": 2, "failed": 0}
    ill = member | {"state": "ejected", "weight": 0.0, "failed": 3}
    merged = merge_statistics(
        answers(
            counts(members=[member]), None,
            counts(phase="starting", refused={"rate": 2, "source": 1}, uptime_seconds=9.0, members=[ill]),
        ),
        {},
    )  # fmt: skip
    assert (merged["accepted"], merged["live"], merged["bytes_down"]) == (6, 2, 14)
    assert (merged["refused"], merged["phase"], merged["uptime_seconds"]) == ({"rate": 3, "source": 1}, "serving", 9.0)
    assert merged["members"] == [ill | {"live": 2, "opened": 4}]
    assert ([each["number"] for each in merged["workers"]], merged["missing"]) == ([0, 2], [1])


def test_counts_of_processes_that_are_over_are_in_the_sums() -> None:
    past = {
        "accepted": 10, "bytes_up": 1, "bytes_down": 1, "observers_lost": 0, "refused": {"rate": 4, "source": 2},
        "ended": {"finished": 3}, "api_errors": {},
    }  # fmt: skip
    merged = merge_statistics(attrs.evolve(answers(counts()), past=past), {})
    assert (merged["accepted"], merged["bytes_down"], merged["live"]) == (13, 8, 1)
    assert (merged["refused"], merged["ended"]) == ({"rate": 5, "source": 2}, {"finished": 3})


def test_without_any_answer_the_edge_is_stopped() -> None:
    merged = merge_statistics(answers(None), {})
    assert (merged["phase"], merged["accepted"], merged["missing"]) == ("stopped", 0, [0])
    assert phase_of(["draining", "serving"]) == "serving"


def test_an_edge_is_as_old_as_the_process_that_asks_its_workers() -> None:
    asked = attrs.evolve(answers(counts(uptime_seconds=9.0)), seconds=60.0)
    assert merge_statistics(asked, {})["uptime_seconds"] == 60.0
    assert merge_statistics(attrs.evolve(asked, given=[]), {})["uptime_seconds"] == 60.0
