"""Whole edges as workers of one another: what limits mean when a client may come to any of them."""

from functools import partial
from typing import Any

import pytest

import trioedge as te
from tests.support.shared_edges import open_workers
from tests.support.shared_memory import make_limits
from trioedge.testing.rehearsal import Rehearsal

HERE, THERE = "192.0.2.1", "198.51.100.7"


@te.decision(provides=("service",))
def shop(session: te.Session) -> te.Verdict:
    session.service = "shop"
    return te.CONTINUE


def make_edge(*stages: Any, **arguments: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:6380", list(stages), te.Forward("tcp://192.0.2.9:1"), **arguments)


async def reasons(workers: list[Rehearsal], *sources: str) -> list[str]:
    """Connect from each source to the workers in turn, and give the reasons of refusals; "" for a live session."""
    found = []
    for number, source in enumerate(sources):
        outcome = (await workers[number % len(workers)].connect(source)).outcome
        found.append("" if outcome is None else str(outcome.reason))
    return found


async def test_a_gate_by_service_admits_its_rate_over_all_workers(autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, shop, te.SessionGate(1, 3)), 3) as workers:
        assert await reasons(workers, *[HERE] * 6) == ["", "", "", "rate", "rate", "rate"]


async def test_a_gate_by_source_is_each_workers_own_because_a_source_has_one_worker(autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, te.SessionGate(1, 1, per="source"))) as workers:
        assert await reasons(workers, HERE, HERE, HERE) == ["", "", "rate"]
        assert await reasons(workers, "unix", "unix") == ["", "rate"], "all workers accept on one local socket"


@pytest.mark.parametrize("per", ["source", "peer"])
async def test_where_a_stage_names_the_source_no_address_has_one_worker(per: str, autojump_clock: Any) -> None:
    @te.decision(provides=("source",))
    def rename(session: te.Session) -> te.Verdict:
        session.set_source(THERE)
        return te.CONTINUE

    async with open_workers(partial(make_edge, rename, te.SessionGate(1, 1, per=per))) as workers:
        assert await reasons(workers, HERE, HERE) == ["", "rate"]


async def test_live_sessions_by_service_are_limited_over_all_workers(autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, shop, te.ConcurrencyLimit(2, "service"))) as workers:
        first = await workers[0].connect()
        assert await reasons(workers, HERE, HERE) == ["", "concurrency"]
        await first.close()
        await first.ended()
        assert await reasons(workers[1:], HERE) == [""]
        assert await reasons(workers, HERE) == ["concurrency"]


async def test_max_sessions_of_a_policy_is_that_of_all_workers(autojump_clock: Any) -> None:
    control = te.MemoryControl({"shop": te.Policy(max_sessions=3)})
    async with open_workers(partial(make_edge, shop, control=control)) as workers:
        clients = [await workers[number % 2].connect() for number in range(3)]
        assert await reasons(workers, HERE, HERE) == ["concurrency", "concurrency"]
        await clients[0].close()
        await clients[0].ended()
        assert await reasons(workers[1:], HERE, HERE) == ["", "concurrency"]


async def test_max_sessions_of_the_edge_is_that_of_all_workers(autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, max_sessions=3)) as workers:
        client = await workers[0].connect()
        assert await reasons(workers, HERE, HERE, HERE, HERE) == ["", "", "overload", "overload"]
        await client.close()
        await client.ended()
        assert await reasons(workers[1:], HERE, HERE) == ["", "overload"]


async def test_what_workers_have_counted_holds_for_their_successors_until_they_are_released(
    autojump_clock: Any,
) -> None:
    limits = make_limits()
    edge = partial(make_edge, shop, te.SessionGate(0.001, 2))
    async with open_workers(edge, limits=limits) as workers:
        assert await reasons(workers, HERE, HERE, HERE) == ["", "", "rate"]
    async with open_workers(edge, limits=limits) as workers:
        assert await reasons(workers, HERE) == ["rate"]
        limits.of("web", 5, 0.0).clear("shop")  # the control process has removed the service
        assert await reasons(workers, HERE, HERE, HERE) == ["", "", "rate"]


class ByKey:
    """Admit one session of a key."""

    kind = "decision"
    requires = ("service",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def open(self, context: te.EdgeContext) -> Any:
        gate, rate = context.gate(5), te.RateSpec(0.001, 1)

        @te.decision
        def admit(session: te.Session) -> te.Verdict:
            answer = gate.admit(self.key(session), session.now, rate)
            return te.CONTINUE if answer is te.GateAnswer.ADMITTED else te.Reject(te.Reason.RATE, "")

        return admit


@pytest.mark.parametrize(
    "key", [lambda session: session.service, lambda session: (session.service, session.source_bytes[:3])]
)
async def test_a_service_is_a_key_in_all_workers(key: Any, autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, shop, ByKey(key))) as workers:
        assert await reasons(workers, HERE, HERE) == ["", "rate"]


async def test_a_key_that_means_nothing_to_other_workers_costs_its_session(autojump_clock: Any) -> None:
    async with open_workers(partial(make_edge, shop, ByKey(lambda session: object()))) as workers:
        client = await workers[0].connect()
        assert client.outcome is not None
        assert client.outcome.reason is te.Reason.FAULT
        assert "means nothing to other workers: use text" in client.outcome.detail
