"""A recipe, and the live stages that it opens: one for each place in each chain."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import trioedge as te
from trioedge.services.context import EdgeContext
from trioedge.session.chain import Chain, open_chain
from trioedge.session.kinds import close_parts
from trioedge.session.outline import outline
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

    kind = "decision"

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make
        self.contexts: list[EdgeContext] = []

    def open(self, context: EdgeContext) -> Any:
        self.contexts.append(context)
        return self.make()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Last(Recipe):
    """The same at the end of a chain."""

    kind = ""


def opened(*stages: object, endpoint: object = finish) -> Chain:
    return open_chain(outline(stages, endpoint), make_context())


def refusal_of(*stages: object, endpoint: object = finish) -> str:
    with pytest.raises(te.ConfigurationError) as refusal:
        opened(*stages, endpoint=endpoint)
    return str(refusal.value)


def test_a_chain_has_the_live_parts_and_its_outline_the_recipes() -> None:
    live, end = Decides(), Ends()
    stage, endpoint = Recipe(lambda: live), Last(lambda: end)
    context = make_context()
    chain = open_chain(outline([stage], endpoint), context)
    assert chain.parts == (live, end)
    assert chain.outline.parts == (stage, endpoint)
    assert stage.contexts == endpoint.contexts == [context]


def test_an_outline_opens_nothing() -> None:
    stage, endpoint = Recipe(Decides), Last(Ends)
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
        (lambda: None, "stage 1 (Recipe): open() returned None, which has neither decide(session) nor converse("),
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
        (lambda: None, "endpoint (Last): open() returned None: let it return an object with async handle(session)"),
        (Wraps, "endpoint (Wraps) is a middleware"),
        (Decides, "endpoint (Decides) cannot end a chain"),
        (lambda: Ends, "endpoint (Ends) is a class, not an endpoint: call it, Ends(...)"),
        (lambda: Last(Ends), "endpoint (Last) cannot end a chain"),
        (coroutine, "endpoint (Last): open() is async; make it a plain def, and wait in run()"),
    ],
)
def test_an_endpoint_that_opens_something_else_is_named(make: Callable[[], object], why: str) -> None:
    assert refusal_of(endpoint=Last(make)).startswith(why)


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
    stages, endpoint = (
        ((first, second, Recipe(fail), third), finish) if where == "stage" else ((first, second), Last(fail))
    )
    with pytest.raises(LookupError, match="no such file"):
        opened(*stages, endpoint=endpoint)
    assert log == ["second", "first"]
    assert third.contexts == []


# One recipe in several places.


def admitted(chain: Chain, count: int) -> int:
    return sum(chain.decide(make_session()) is te.CONTINUE for _ in range(count))


@pytest.mark.parametrize(
    "recipe", [te.SessionGate(1, burst=4, per="source"), te.ConcurrencyLimit(4), te.Pacing("1 MB/s")]
)
def test_the_same_recipe_twice_is_refused_with_both_places(recipe: object) -> None:
    name = type(recipe).__name__
    assert refusal_of(recipe, te.IdleTimeout(5), recipe, endpoint=Relays()) == (
        f"stage 3 ({name}) is the same object as stage 1 ({name}): remove one, or make another {name}"
    )


def test_two_equal_recipes_are_two_live_stages_with_counts_of_their_own() -> None:
    chain = opened(te.ConcurrencyLimit(4), te.ConcurrencyLimit(4))
    assert chain.parts[0] is not chain.parts[1]
    assert admitted(chain, 9) == 4


@pytest.mark.parametrize("recipe", [te.SessionGate(1, burst=4, per="source"), te.ConcurrencyLimit(4)])
def test_a_recipe_in_two_chains_has_counts_of_its_own_in_each(recipe: object) -> None:
    one, other = opened(recipe), opened(recipe)
    assert (admitted(one, 9), admitted(other, 9)) == (4, 4)


@pytest.mark.parametrize("make", [lambda: te.DeviceLimit(3), lambda: te.Pacing("1 MB/s"), te.Identify])
def test_a_recipe_that_a_chain_may_have_once_is_refused_twice(make: Callable[[], object]) -> None:
    name = type(make()).__name__
    assert refusal_of(make(), make(), endpoint=Relays()) == (
        f"{name} is in the chain twice: use one, with the arguments of both"
    )


class Works(Decides):
    kind = "decision"

    def open(self, context: EdgeContext) -> "Works":
        return self

    async def run(self, *, task_status: Any) -> None: ...


def test_a_recipe_may_open_itself() -> None:
    one, other = Works(), Works()
    chain = opened(one, other)
    assert chain.parts[:2] == (one, other)
    assert chain.workers == (one, other)


# A recipe cannot be changed: an edge has copied its arguments.

RECIPES: list[object] = [
    te.SessionGate(1, burst=4, per="source"),
    te.ConcurrencyLimit(4),
    te.DeviceLimit(3),
    te.Identify(),
    te.IdleTimeout(9),
    te.Pacing("1 MB/s"),
    te.SourceMatch(["10.0.0.0/8"]),
    te.Forward("tcp://192.0.2.9:1"),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_writing_or_deleting_an_attribute_of_a_recipe_says_to_make_another(recipe: object) -> None:
    kind, before = type(recipe).__name__, dict(vars(recipe))
    for name in [*before, "typo"]:
        for write in (partial(setattr, recipe, name, 5), partial(delattr, recipe, name)):
            with pytest.raises(AttributeError) as refusal:
                write()
            assert str(refusal.value) == (
                f"{kind}.{name} cannot be set, because an edge may use this {kind}: make another one"
            )
    assert vars(recipe) == before


def test_a_subclass_of_a_recipe_may_set_attributes_in_its_init_and_none_later() -> None:
    class Office(te.SessionGate):
        def __init__(self, hours: int) -> None:
            super().__init__(5)
            self.hours = hours

    office = Office(8)
    assert (office.rate, office.hours) == (5, 8)
    with pytest.raises(AttributeError, match="hours cannot be set"):
        office.hours = 9


def test_the_list_of_stages_may_be_changed_once_the_edge_is_made() -> None:
    stages: list[object] = [te.ConcurrencyLimit(4)]
    edge = te.Edge("tcp://127.0.0.1:0", stages, finish)
    stages.clear()
    assert edge.outline.names == ["ConcurrencyLimit", "finish"]


# Stages made of others.


def test_the_stages_inside_of_a_stage_are_run_and_closed_as_those_of_the_chain() -> None:
    log: list[str] = []

    class Inner(Decides):
        async def run(self, *, task_status: object) -> None:
            pass

        def close(self) -> None:
            log.append("inner")

    class Outer(Decides):
        def __init__(self) -> None:
            self.inner_stages = (Inner(), Decides())

        def close(self) -> None:
            log.append("outer")

    outer = Outer()
    chain = opened(outer, outer)
    assert chain.workers == (outer.inner_stages[0],), "once, though the chain has the stage twice"
    close_parts(chain.parts, make_context().log)
    assert log == ["inner", "outer"], "the last one first"
