"""Handshakes that no chain can have, refused when it is compiled, each with the mend."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

import trioedge as te
from trioedge.session.chain import compile_chain
from trioedge.session.kinds import MAX_HANDSHAKE_BYTES, facts_of, kind_of, name_of
from trioedge.session.outline import Phase, outline


@te.handshake
def talks(session: te.Session) -> te.Steps:
    yield te.Read(1)
    return te.CONTINUE


@te.handshake(proceeds=True)
def proceeds(session: te.Session) -> te.Steps:
    yield te.PROCEED
    return te.CONTINUE


@te.decision
def yes(session: te.Session) -> te.Verdict:
    return te.CONTINUE


@te.middleware
async def around(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


async def finish(session: te.Session) -> te.Outcome:
    return te.Completed()


class Converses:
    def converse(self, session: te.Session) -> te.Steps:
        yield te.Read(1)
        return te.CONTINUE


class AsyncConverse:
    async def converse(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


class AsyncSteps:
    async def converse(self, session: te.Session) -> AsyncGenerator[object]:
        yield te.Read(1)


class WithoutYield:
    def converse(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


class WithoutSession:
    def converse(self) -> te.Steps:
        yield te.Read(1)
        return te.CONTINUE


class NotCallable:
    converse = 5


class Both(Converses):
    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


class AllThree(Both):
    async def handle(self, session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)


class Runs(Converses):
    def run(self) -> None: ...


def with_facts(**said: Any) -> Converses:
    stage: Converses = type("Said", (Converses,), said)()
    return stage


IS_ASYNC = (
    "s: converse() is async, and a handshake cannot wait: make it a plain def with yield, and await with yield "
    "Background(function)"
)
ALL_THREE = (
    "s has decide() and converse() and handle(): a stage is a decision, a handshake or a middleware; make several of it"
)
NO_YIELD = (
    "s: converse() has no yield: a handshake is a generator, as in line = yield ReadUntil(b'\\n'); without one it is a "
    "decision"
)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (AsyncConverse(), IS_ASYNC),
        (AsyncSteps(), IS_ASYNC),
        (WithoutYield(), NO_YIELD),
        (te.handshake(lambda session: te.CONTINUE), NO_YIELD),  # type: ignore[arg-type, return-value]
        (NotCallable(), NO_YIELD),
        (WithoutSession(), "s: converse() must take the session and nothing else"),
        (
            Both(),
            "s has decide() and converse(): a stage is a decision, a handshake or a middleware; make several of it",
        ),
        (AllThree(), ALL_THREE),
        (Converses, "s is a class, not a stage: call it, Converses(...)"),
        (Runs(), "s: run() is not async: write async def"),
    ],
)
def test_an_object_that_is_no_handshake_is_refused_with_the_mend(stage: object, message: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        kind_of(stage, "s")
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"seconds": 0}, "s: seconds=0 must be a number above 0"),
        ({"seconds": "3"}, "s: seconds='3' must be a number above 0"),
        ({"max_bytes": 0}, f"s: max_bytes=0 must be a whole number from 1 to {MAX_HANDSHAKE_BYTES}"),
        ({"max_bytes": 65_537}, f"s: max_bytes=65537 must be a whole number from 1 to {MAX_HANDSHAKE_BYTES}"),
        ({"max_bytes": 1.5}, f"s: max_bytes=1.5 must be a whole number from 1 to {MAX_HANDSHAKE_BYTES}"),
        ({"provides": "service"}, "s: provides='service' is text: write provides=('service',)"),
    ],
)
def test_a_bound_that_is_none_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        facts_of(with_facts(**facts), "s")
    assert str(refusal.value) == message
    with pytest.raises(te.ConfigurationError):
        compile_chain([with_facts(**facts)], finish)


def test_the_attributes_of_handshakes_mean_anything_to_other_stages() -> None:
    class Waits:
        seconds, max_bytes, proceeds = "soon", None, 5

        def decide(self, session: te.Session) -> te.Verdict:
            return te.CONTINUE

    assert facts_of(Waits(), "s").seconds == 10.0
    compile_chain([Waits()], finish)


def test_a_handshake_is_told_by_its_method_and_named_by_its_function() -> None:
    assert (kind_of(talks, "s"), name_of(talks)) == ("handshake", "talks")
    assert (kind_of(Converses(), "s"), name_of(Converses())) == ("handshake", "Converses")


@pytest.mark.parametrize(
    "stages",
    [[proceeds, talks], [proceeds, yes, talks], [proceeds, around, talks], [talks, proceeds, around, proceeds]],
)
def test_a_handshake_behind_one_that_proceeds_is_refused_and_both_are_named(stages: list[object]) -> None:
    with pytest.raises(te.ConfigurationError, match=r"stage \d \(\w+\) is a handshake behind stage \d \(proceeds\)"):
        outline(stages, finish)


@pytest.mark.parametrize("stages", [[talks, proceeds], [proceeds, yes, around, yes], [around, talks, proceeds]])
def test_the_last_handshake_may_proceed(stages: list[object]) -> None:
    outline(stages, finish)


@pytest.mark.parametrize(("stages", "last"), [([talks, talks], [False, True]), ([talks, around, talks], [False])])
def test_only_the_last_handshake_of_the_whole_chain_may_proceed_without_saying_so(
    stages: list[object], last: list[bool]
) -> None:
    assert [each.last for each in compile_chain(stages, finish).handshakes] == last


def test_a_decision_that_reads_what_a_later_handshake_writes_is_refused_and_both_are_named() -> None:
    names = te.handshake(provides=("service",))(talks.converse)
    reads = te.decision(requires=("service",))(yes.decide)
    with pytest.raises(te.ConfigurationError) as refusal:
        outline([reads, names], finish)
    assert str(refusal.value) == (
        "stage 1 (yes) needs the session's service before anything names it: move it behind talks, which names it"
    )
    outline([names, reads], finish)


def test_the_phases_of_a_chain_are_in_order_of_execution() -> None:
    assert outline([yes, talks, yes, yes, talks, around, yes], finish).phases == (
        Phase("leading decisions", ("yes",)),
        Phase("handshake", ("talks",)),
        Phase("decisions", ("yes", "yes")),
        Phase("handshake", ("talks",)),
        Phase("middleware", ("around",)),
        Phase("decisions", ("yes",)),
        Phase("endpoint", ("finish",)),
    )


@pytest.mark.parametrize(
    ("stages", "talks_first"),
    [([], False), ([yes], False), ([talks], True), ([yes, talks, around], True), ([around, talks], False)],
)
def test_clients_talk_before_they_have_a_task_where_a_handshake_is_before_every_middleware(
    stages: list[object], talks_first: bool
) -> None:
    assert outline(stages, finish).talks == talks_first


class Recipe:
    kind = "handshake"

    def __init__(self, live: object) -> None:
        self.live = live

    def open(self, context: object) -> object:
        return self.live


def test_a_recipe_opens_what_it_says() -> None:
    from trioedge.session.chain import open_chain
    from trioedge.testing import make_context

    assert len(open_chain(outline([Recipe(talks)], finish), make_context()).handshakes) == 1
    with pytest.raises(te.ConfigurationError) as refusal:
        open_chain(outline([Recipe(yes)], finish), make_context())
    assert str(refusal.value) == (
        "stage 1 (Recipe) says kind = 'handshake', and open() returned a decision: make them agree"
    )


async def test_a_chain_without_an_edge_cannot_drive_a_handshake() -> None:
    from trioedge.testing import make_session

    with pytest.raises(RuntimeError, match="meets a handshake, which only a running edge drives"):
        await compile_chain([talks], finish)(make_session())
