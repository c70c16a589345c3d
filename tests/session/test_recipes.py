"""A recipe, and the live stages that it opens: one for each place in each chain."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import trioedge as te
from trioedge.services.context import EdgeContext
from trioedge.session.chain import Chain, open_chain, outline
from trioedge.testing import make_context, make_session


async def finish(session: te.Session) -> te.Outcome:
    return te.Completed()


class Decides:
    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


class Wraps:
    async def handle(self, session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)


class Ends:
    async def handle(self, session: te.Session) -> te.Outcome:
        return te.Completed()


class Recipe:
    """Opens what a test gives it."""

    def __init__(self, make: Callable[[], object], kind: str = "decision") -> None:
        self.make, self.kind = make, kind
        self.contexts: list[EdgeContext] = []

    def open(self, context: EdgeContext) -> Any:
        self.contexts.append(context)
        return self.make()

    def __repr__(self) -> str:
        return "Recipe()"


def opened(*stages: object, endpoint: object = finish) -> Chain:
    return open_chain(outline(stages, endpoint), make_context())


def refusal_of(*stages: object, endpoint: object = finish) -> str:
    with pytest.raises(te.ConfigurationError) as refusal:
        opened(*stages, endpoint=endpoint)
    return str(refusal.value)


def test_a_chain_has_the_live_parts_and_its_outline_the_recipes() -> None:
    live, end = Decides(), Ends()
    stage, endpoint = Recipe(lambda: live), Recipe(lambda: end)
    context = make_context()
    chain = open_chain(outline([stage], endpoint), context)
    assert chain.parts == (live, end)
    assert chain.outline.parts == (stage, endpoint)
    assert stage.contexts == endpoint.contexts == [context]


def test_an_outline_opens_nothing() -> None:
    stage, endpoint = Recipe(Decides), Recipe(Ends)
    outline([stage], endpoint)
    te.Edge("tcp://127.0.0.1:0", [stage], endpoint)
    assert stage.contexts == endpoint.contexts == []


def test_a_stage_without_open_is_its_own_live_stage() -> None:
    stage = te.IdleTimeout(5)
    assert opened(stage, endpoint=Relays()).parts[0] is stage


class Relays(Ends):
    relays = True


def test_a_chain_that_is_compiled_without_an_edge_refuses_a_recipe() -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.compile_chain([te.SessionGate(5)], finish)
    assert str(refusal.value) == (
        "stage 1 (SessionGate) is opened by a running edge: test it with trioedge.testing.open_edge"
    )


# What is opened is checked.


async def coroutine() -> Decides:
    return Decides()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Wraps, "stage 1 (Recipe) says kind = 'decision', and open() returned a middleware: make them agree"),
        (lambda: None, "stage 1 (Recipe): open() returned None, which has neither decide(session) nor handle("),
        (lambda: Decides, "stage 1 (Recipe): open() returned <class '"),
        (lambda: Recipe(Decides), "stage 1 (Recipe): open() returned Recipe(), which has neither decide(session) nor"),
        (coroutine, "stage 1 (Recipe): open() is async; make it a plain def, and wait in run()"),
    ],
)
def test_a_stage_that_opens_something_else_than_it_says_is_named(make: Callable[[], object], why: str) -> None:
    message = refusal_of(Recipe(make))
    assert message.startswith(why)
    assert "\n" not in message


def test_a_class_in_place_of_the_live_stage_is_refused_with_the_mend() -> None:
    assert refusal_of(Recipe(lambda: Decides)).endswith("which is a class, not a stage: call it, Decides(...)")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: None, "endpoint (Recipe): open() returned None: let it return an object with async handle(session)"),
        (Wraps, "endpoint (Wraps) is a middleware"),
        (Decides, "endpoint (Decides) cannot end a chain"),
        (lambda: Ends, "endpoint (Ends) is a class, not an endpoint: call it, Ends(...)"),
        (lambda: Recipe(Ends), "endpoint (Recipe) cannot end a chain"),
        (coroutine, "endpoint (Recipe): open() is async; make it a plain def, and wait in run()"),
    ],
)
def test_an_endpoint_that_opens_something_else_is_named(make: Callable[[], object], why: str) -> None:
    assert refusal_of(endpoint=Recipe(make)).startswith(why)


# One that fails.


class Closes(Decides):
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def close(self) -> None:
        self.log.append(self.name)


def fail() -> object:
    raise LookupError("no such file")


@pytest.mark.parametrize("where", ["stage", "endpoint"])
def test_when_one_cannot_be_opened_those_before_it_are_closed_last_first(where: str) -> None:
    log: list[str] = []
    first, second, third = (Recipe(partial(Closes, log, name)) for name in ("first", "second", "third"))
    failing = Recipe(fail)
    stages, endpoint = ((first, second, failing, third), finish) if where == "stage" else ((first, second), failing)
    with pytest.raises(LookupError, match="no such file"):
        opened(*stages, endpoint=endpoint)
    assert log == ["second", "first"]
    assert third.contexts == []


# One recipe in several places.


def admitted(chain: Chain, count: int) -> int:
    return sum(chain.decide(make_session()) is te.CONTINUE for _ in range(count))


@pytest.mark.parametrize("recipe", [te.SessionGate(1, burst=4, per="source"), te.ConcurrencyLimit(4)])
def test_a_recipe_given_twice_is_two_live_stages_with_counts_of_their_own(recipe: object) -> None:
    """With one count for both, every session would count double."""
    chain = opened(recipe, recipe)
    assert chain.parts[0] is not chain.parts[1]
    assert admitted(chain, 9) == 4


@pytest.mark.parametrize("recipe", [te.SessionGate(1, burst=4, per="source"), te.ConcurrencyLimit(4)])
def test_a_recipe_in_two_chains_has_counts_of_its_own_in_each(recipe: object) -> None:
    one, other = opened(recipe), opened(recipe)
    assert (admitted(one, 9), admitted(other, 9)) == (4, 4)


@pytest.mark.parametrize("recipe", [te.DeviceLimit(3), te.Pacing("1 MB/s"), te.Identify()])
def test_a_recipe_that_a_chain_may_have_once_is_refused_twice(recipe: object) -> None:
    name = type(recipe).__name__
    assert refusal_of(recipe, recipe, endpoint=Relays()) == (
        f"{name} is there twice, and each would undo the other: give one what both say"
    )


class Works(Decides):
    kind = "decision"

    def open(self, context: EdgeContext) -> "Works":
        return self

    async def run(self, *, task_status: Any) -> None: ...


def test_a_recipe_that_opens_itself_works_once_however_often_the_chain_has_it() -> None:
    one, other = Works(), Works()
    chain = opened(one, other, one)
    assert chain.parts[:3] == (one, other, one)
    assert chain.workers == (one, other)


# A recipe that is changed is another recipe; the live stage has copied what it needs.


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (te.SessionGate(1, burst=4, per="source"), {"rate": 1e6, "burst": 1_000, "per": "service", "capacity": 1}),
        (te.ConcurrencyLimit(4), {"sessions": 1_000, "per": "service", "capacity": 1}),
    ],
)
def test_a_recipe_that_is_changed_changes_no_live_stage(recipe: object, changes: dict[str, object]) -> None:
    chain = opened(recipe)
    for name, value in changes.items():
        assert hasattr(recipe, name)
        setattr(recipe, name, value)
    assert admitted(chain, 9) == 4


def test_the_list_of_stages_may_be_changed_once_the_edge_is_made() -> None:
    stages: list[object] = [te.ConcurrencyLimit(4)]
    edge = te.Edge("tcp://127.0.0.1:0", stages, finish)
    stages.clear()
    assert edge.outline.names == ["ConcurrencyLimit", "finish"]
