"""Recipes while edges serve: a change of a recipe reaches no live stage, and each run has live stages of its own."""

from math import inf
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from trioedge.testing import open_edge

SILENT = "tcp://192.0.2.9:6379"


def edge_of(*stages: object, endpoint: object | None = None) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", stages, endpoint or te.Forward(SILENT))


def change(recipe: object, **changes: Any) -> None:
    for name, value in changes.items():
        assert hasattr(recipe, name), f"{recipe!r} has no {name} any more: the test would prove nothing"
        setattr(recipe, name, value)


async def test_a_gate_that_is_changed_while_it_serves_keeps_its_rate(autojump_clock: MockClock) -> None:
    gate = te.SessionGate(1, burst=2, per="source")
    async with open_edge(edge_of(gate)) as world:
        change(gate, rate=1e6, burst=100, per="service", capacity=1, requires=(), kind="middleware")
        outcomes = [(await world.connect()).outcome for _ in range(4)]
        assert [None if each is None else each.reason for each in outcomes] == [None, None, *[te.Reason.RATE] * 2]
        assert (await world.connect("192.0.2.2")).outcome is None


async def test_a_limit_that_is_changed_while_it_serves_keeps_its_number(autojump_clock: MockClock) -> None:
    limit = te.ConcurrencyLimit(2)
    async with open_edge(edge_of(limit)) as world:
        change(limit, sessions=100, per="service", capacity=1)
        outcomes = [(await world.connect()).outcome for _ in range(3)]
        assert [each is None for each in outcomes] == [True, True, False]
        assert (await world.connect("192.0.2.2")).outcome is None


async def test_a_device_limit_that_is_changed_while_it_serves_keeps_its_rules(autojump_clock: MockClock) -> None:
    limit = te.DeviceLimit(1)
    async with open_edge(edge_of(limit)) as world:
        change(limit, rules=attrs.evolve(limit.rules, limit=100), key=lambda _: "one", capacity=1, check=None)
        first, second = [await world.connect(source) for source in ("192.0.2.1", "192.0.2.2")]
        assert first.session.device == "192.0.2.1"
        assert second.outcome is not None
        assert second.outcome.reason is te.Reason.DEVICE


async def test_rates_that_are_changed_while_they_serve_stay(autojump_clock: MockClock) -> None:
    pacing = te.Pacing(1_000, 2_000)
    async with open_edge(edge_of(pacing)) as world:
        change(pacing, down_rate=inf, up_rate=inf)
        client = await world.connect()
        assert (client.session.down_rate, client.session.up_rate) == (1_000, 2_000)
        await trio.sleep(1)
        assert (client.session.down_rate, client.session.up_rate) == (1_000, 2_000)


async def test_an_endpoint_that_is_changed_while_it_serves_goes_where_it_went(autojump_clock: MockClock) -> None:
    forward = te.Forward(SILENT)
    async with open_edge(edge_of(endpoint=forward)) as world:
        change(forward, to=te.Forward("tcp://192.0.2.66:1").to, connect_seconds=0.001, preconnect=5, outbound=None)
        world.upstream.connect_seconds = 1.0
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert [str(each) for each in world.upstream.asked] == [SILENT]


# One recipe, several runs.


class Worker:
    """A live stage that works, and notes when it is made, works and is closed."""

    def __init__(self, log: list[str], number: int) -> None:
        self.log, self.number = log, number
        self.sessions = 0

    def decide(self, session: te.Session) -> te.Verdict:
        self.sessions += 1
        return te.CONTINUE if self.sessions <= 2 else te.Reject(te.Reason.POLICY, f"third of {self.number}")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.log.append(f"{self.number} works")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.log.append(f"{self.number} ends")

    def close(self) -> None:
        self.log.append(f"{self.number} closes")


class CountsTwo:
    kind = "decision"

    def __init__(self) -> None:
        self.log: list[str] = []
        self.live = 0

    def open(self, context: te.EdgeContext) -> Worker:
        self.live += 1
        return Worker(self.log, self.live)


async def test_each_place_in_a_chain_has_a_worker_that_is_closed_once(autojump_clock: MockClock) -> None:
    recipe = CountsTwo()
    async with open_edge(edge_of(recipe, recipe)) as world:
        assert recipe.log == ["1 works", "2 works"]
        outcomes = [(await world.connect()).outcome for _ in range(3)]
        assert outcomes == [None, None, te.Reject(te.Reason.POLICY, "third of 1")]
    assert sorted(recipe.log[2:4]) == ["1 ends", "2 ends"]
    assert recipe.log[4:] == ["2 closes", "1 closes"]


async def test_one_recipe_serves_two_edges_at_once(autojump_clock: MockClock) -> None:
    recipe, forward = CountsTwo(), te.Forward(SILENT)
    one, other = edge_of(recipe, endpoint=forward), edge_of(recipe, endpoint=forward)
    async with open_edge(one) as here, open_edge(other) as there:
        for world in (here, there):
            outcomes = [(await world.connect()).outcome for _ in range(3)]
            assert [each is None for each in outcomes] == [True, True, False]
        assert (one.statistics().refused, other.statistics().refused) == ({te.Reason.POLICY: 1}, {te.Reason.POLICY: 1})


async def test_an_edge_that_serves_again_has_live_stages_of_its_own(autojump_clock: MockClock) -> None:
    recipe = CountsTwo()
    edge = edge_of(recipe)
    for _ in range(2):
        async with open_edge(edge) as world:
            outcomes = [(await world.connect()).outcome for _ in range(3)]
            assert [each is None for each in outcomes] == [True, True, False]
    assert recipe.log == ["1 works", "1 ends", "1 closes", "2 works", "2 ends", "2 closes"]


class OpensItself(Worker):
    kind = "decision"

    def __init__(self) -> None:
        super().__init__([], 1)

    def open(self, context: te.EdgeContext) -> "OpensItself":
        return self


async def test_a_live_stage_that_a_chain_has_twice_works_and_closes_once(autojump_clock: MockClock) -> None:
    stage = OpensItself()
    async with open_edge(edge_of(stage, stage)):
        assert stage.log == ["1 works"]
    assert stage.log == ["1 works", "1 ends", "1 closes"]


# One that cannot be opened.


class Breaks:
    kind = "decision"

    def __init__(self) -> None:
        self.broken = True

    def open(self, context: te.EdgeContext) -> te.Decision:
        if self.broken:
            raise te.ConfigurationError("the list of guests is missing: write guests.txt")
        return te.decision(lambda _: te.CONTINUE)


def leaves(group: BaseException) -> list[BaseException]:
    """Give the exceptions in a group of groups."""
    if not isinstance(group, BaseExceptionGroup):
        return [group]
    return [leaf for each in group.exceptions for leaf in leaves(each)]


async def test_an_edge_whose_stage_cannot_be_opened_does_not_start_closes_the_others_and_may_try_again(
    autojump_clock: MockClock,
) -> None:
    first, breaks = CountsTwo(), Breaks()
    edge = edge_of(first, breaks)
    with pytest.raises(ExceptionGroup) as failed:
        async with open_edge(edge):
            raise AssertionError("it cannot start")
    (fault,) = leaves(failed.value)
    assert isinstance(fault, te.ConfigurationError)
    assert str(fault) == "the list of guests is missing: write guests.txt"
    assert edge.phase.value == "stopped"
    assert first.log == ["1 closes"], "it had not worked yet"
    breaks.broken = False
    async with open_edge(edge) as world:
        assert (await world.connect()).outcome is None


async def test_a_close_that_raises_is_logged_and_the_other_parts_are_closed(autojump_clock: MockClock) -> None:
    class CannotClose(Worker):
        def close(self) -> None:
            raise LookupError("bug")

    class Clumsy(CountsTwo):
        def open(self, context: te.EdgeContext) -> Worker:
            live = super().open(context)
            return CannotClose(live.log, live.number) if live.number == 2 else live

    recipe = Clumsy()
    with capture_logs() as logs:
        async with open_edge(edge_of(recipe, recipe)):
            pass
    assert recipe.log[-1] == "1 closes"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["close failed"]
