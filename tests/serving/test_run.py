"""One run of an edge: the order of start and stop, starts that fail, and what a run does for its context."""

from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.wires import connect, edge_to, server, serving, silent

Trail = list[str]


@attrs.define(eq=False)
class Traced:
    """A stage or endpoint that writes down what is done with it.

    Attributes:
        name: its name there.
        trail: where it writes.
        fails: the step that raises: ``open``, ``run`` or ``close``.
        starts_after: seconds until its worker has started.
    """

    name: str
    trail: Trail
    fails: str = ""
    starts_after: float = 0.0
    kind = "decision"

    def open(self, context: te.EdgeContext) -> "LiveTraced":
        self.step("open")
        return LiveTraced(self)

    def step(self, step: str) -> None:
        self.trail.append(f"{step} {self.name}")
        if self.fails == step:
            raise LookupError(f"{step} of {self.name}")


class LiveTraced:
    def __init__(self, recipe: Traced) -> None:
        self._recipe = recipe

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(self._recipe.starts_after)
        self._recipe.step("run")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._recipe.trail.append(f"stop {self._recipe.name}")

    def close(self) -> None:
        self._recipe.step("close")


class TracedEndpoint(Traced):
    kind = ""  # an endpoint says none

    def open(self, context: te.EdgeContext) -> "LiveTracedEndpoint":  # type: ignore[override]  # an endpoint
        self.step("open")
        return LiveTracedEndpoint(self)


class LiveTracedEndpoint:
    def __init__(self, recipe: Traced) -> None:
        traced = LiveTraced(recipe)
        self.run, self.close = traced.run, traced.close

    async def handle(self, session: te.Session) -> te.Outcome:
        await trio.sleep_forever()
        raise AssertionError


def traced_edge(trail: Trail, fails: str = "", *, at: str = "second", **arguments: Any) -> te.Edge:
    """An edge of two stages and an endpoint; the step `fails` of the part `at` raises."""
    names = ("first", "second", "endpoint")
    first, second, endpoint = (
        (TracedEndpoint if name == "endpoint" else Traced)(name, trail, fails if name == at else "") for name in names
    )
    return te.Edge("tcp://127.0.0.1:0", [first, second], endpoint, **arguments)


async def test_parts_are_opened_and_run_in_order_and_closed_in_the_other_order_when_no_session_is_left() -> None:
    trail: Trail = []
    edge = traced_edge(trail, drain_seconds=0.0)
    phases: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        assert trail == ["open first", "open second", "open endpoint", "run first", "run second", "run endpoint"]
        phases.append(edge.phase.value)
        trail.clear()
        async with await connect(int(edge.addresses[0].rpartition(":")[2])) as client:
            while not edge.sessions:
                await trio.sleep(0.001)
            next(iter(edge.sessions)).defer(lambda _: trail.append("end of the session"))
            edge.drain()
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
    phases.append(edge.phase.value)
    assert trail[0] == "end of the session"
    assert set(trail[1:4]) == {"stop first", "stop second", "stop endpoint"}
    assert trail[4:] == ["close endpoint", "close second", "close first"]
    assert phases == ["serving", "stopped"]


@pytest.mark.parametrize(
    ("fails", "at", "closed"),
    [
        ("open", "first", []),
        ("open", "second", ["close first"]),
        ("open", "endpoint", ["close second", "close first"]),
        ("run", "first", ["close endpoint", "close second", "close first"]),
        ("run", "endpoint", ["close endpoint", "close second", "close first"]),
    ],
)
async def test_a_start_that_fails_closes_what_was_opened_once(fails: str, at: str, closed: list[str]) -> None:
    trail: Trail = []
    before = left_open()
    edge = traced_edge(trail, fails, at=at)
    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match=f"{fails} of {at}"), flatten_subgroups=True):
        await edge.serve()
    assert [step for step in trail if step.startswith("close")] == closed
    assert left_open() == before
    assert (edge.phase.value, edge.addresses, len(edge.sessions)) == ("stopped", (), 0)


async def test_an_edge_serves_again_after_a_start_that_failed() -> None:
    trail: Trail = []
    edge = traced_edge(trail, "open")
    with pytest.RaisesGroup(LookupError):
        await edge.serve()
    recipe = edge.outline.parts[1]
    assert isinstance(recipe, Traced)
    recipe.fails = ""
    async with serving(edge):
        assert edge.phase.value == "serving"


async def test_a_close_that_raises_is_logged_and_the_other_parts_are_closed() -> None:
    trail: Trail = []
    with capture_logs() as logs:
        async with serving(traced_edge(trail, "close", at="endpoint")):
            pass
    assert [step for step in trail if step.startswith("close")] == ["close endpoint", "close second", "close first"]
    assert [(entry["event"], entry["stage"]) for entry in logs if entry["log_level"] == "error"] == [
        ("close failed", "LiveTracedEndpoint")
    ]


async def test_an_edge_that_is_cancelled_before_any_step_closes_each_part_that_it_opened_once() -> None:
    trail: Trail = []
    edge = traced_edge(trail)

    async def live() -> None:
        trail.clear()
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            edge.drain()

    await live()
    before = left_open()

    def check() -> None:
        for name in ("first", "second", "endpoint"):
            assert trail.count(f"close {name}") == trail.count(f"open {name}")
        assert left_open() == before

    assert await cancel_at_every_step(live, check) > 10


@pytest.mark.parametrize("member", ["run", "close"])
async def test_an_opened_part_whose_life_cannot_be_is_refused_at_the_start(member: str) -> None:
    class Opens:
        kind = "decision"

        def open(self, context: te.EdgeContext) -> Any:
            live: Any = type("Live", (), {"decide": lambda self, session: te.CONTINUE, member: 5})
            return live()

    match = rf"stage 1 \(Opens\).*: {member}=5 is no method"
    with pytest.RaisesGroup(pytest.RaisesExc(te.ConfigurationError, match=match), flatten_subgroups=True):
        await edge_to(1, Opens()).serve()


class OddBaseError(BaseException):
    pass


async def test_a_close_that_raises_no_exception_is_logged_as_well() -> None:
    class Odd:
        def decide(self, session: te.Session) -> te.Verdict:
            return te.CONTINUE

        def close(self) -> None:
            raise OddBaseError

    with capture_logs() as logs:
        async with serving(edge_to(1, Odd())):
            pass
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["close failed"]


async def test_a_drain_during_the_start_stops_the_edge_before_it_accepts() -> None:
    trail: Trail = []
    edge = traced_edge(trail)
    async with trio.open_nursery() as nursery:

        async def drain() -> None:
            await edge.phase.wait_value("starting")
            edge.drain()

        nursery.start_soon(drain)
        with capture_logs() as logs:
            assert await edge.serve() == 0
    assert "listening" not in [entry["event"] for entry in logs]
    assert edge.phase.value == "stopped"
    assert trail[-3:] == ["close endpoint", "close second", "close first"]


async def test_the_phases_of_a_run_follow_one_another() -> None:
    async with server(silent) as port:
        edge = edge_to(port, drain_seconds=0.1)
        phases: list[str] = [edge.phase.value]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def note() -> None:
                async for phase, _ in edge.phase.transitions():
                    phases.append(phase)

            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(edge.serve)
            async with await connect(int(edge.addresses[0].rpartition(":")[2])):
                while not edge.sessions:
                    await trio.sleep(0.001)
                edge.drain()
                await edge.phase.wait_value("stopped")
            nursery.cancel_scope.cancel()
    assert phases == ["idle", "starting", "serving", "draining", "stopped"]
