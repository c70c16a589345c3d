"""Recipes while edges serve: each run has live stages of its own."""

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from trioedge.testing import open_edge

SILENT = "tcp://192.0.2.9:6379"


def edge_of(*stages: object, endpoint: object | None = None) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", stages, endpoint or te.Forward(SILENT))


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


class Shares:
    """A recipe that opens the same live stage as another recipe."""

    kind = "decision"

    def __init__(self, live: Worker) -> None:
        self.live = live

    def open(self, context: te.EdgeContext) -> Worker:
        return self.live


async def test_a_live_stage_that_two_recipes_share_works_and_closes_once(autojump_clock: MockClock) -> None:
    live = Worker([], 1)
    async with open_edge(edge_of(Shares(live), Shares(live))):
        assert live.log == ["1 works"]
    assert live.log == ["1 works", "1 ends", "1 closes"]


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
            return CannotClose(live.log, live.number)

    first, clumsy = CountsTwo(), Clumsy()
    with capture_logs() as logs:
        async with open_edge(edge_of(first, clumsy)):
            pass
    assert first.log[-1] == "1 closes"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["close failed"]
