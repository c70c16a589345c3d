import inspect
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, make_session
from trioedge.errors import ConfigurationError
from trioedge.session.chain import Chain, Phase, compile_chain
from trioedge.session.session import Session
from trioedge.session.stage import Handler, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict

REFUSAL = Reject(Reason.POLICY, "closed")


@decision
def yes(session: Session) -> Verdict:
    return CONTINUE


@decision
def no(session: Session) -> Verdict:
    return REFUSAL


@middleware
async def around(session: Session, call_next: Handler) -> Outcome:
    return await call_next(session)


async def finish(session: Session) -> Outcome:
    return Completed()


def run_without_a_loop(chain: Chain, session: Session | None = None) -> Outcome:
    """Run a chain that never waits: nobody is there to wait for it."""
    coroutine = chain(session or make_session())
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    outcome: Outcome = stop.value.value
    return outcome


@attrs.frozen
class Decides:
    name: str
    verdict: Verdict
    log: list[str]

    def decide(self, session: Session) -> Verdict:
        self.log.append(self.name)
        return self.verdict


@attrs.frozen
class Wraps:
    name: str
    log: list[str]

    async def handle(self, session: Session, call_next: Handler) -> Outcome:
        self.log.append(f"{self.name} in")
        outcome = await call_next(session)
        self.log.append(f"{self.name} out with {outcome.reason}")
        return outcome


@attrs.frozen
class Ends:
    log: list[str]

    async def handle(self, session: Session) -> Outcome:
        self.log.append("endpoint")
        return Completed()


def story(stages: list[Decides | Wraps]) -> tuple[list[str], Outcome]:
    """What a chain should do, told by its first stage and the story of the others."""
    if not stages:
        return ["endpoint"], Completed()
    first, (log, outcome) = stages[0], story(stages[1:])
    if isinstance(first, Wraps):
        return [f"{first.name} in", *log, f"{first.name} out with {outcome.reason}"], outcome
    if first.verdict is not CONTINUE:
        return [first.name], first.verdict
    return [first.name, *log], outcome


@examples(150)
@given(st.lists(st.sampled_from(["yes", "yes", "no", "around"]), max_size=8))
def test_stages_run_in_the_order_of_the_list_outermost_first(kinds: list[str]) -> None:
    log: list[str] = []
    stages = [
        Wraps(f"{number}", log)
        if kind == "around"
        else Decides(f"{number}", CONTINUE if kind == "yes" else REFUSAL, log)
        for number, kind in enumerate(kinds)
    ]
    expected_log, expected_outcome = story(stages)
    assert run_without_a_loop(compile_chain(stages, Ends(log))) == expected_outcome
    assert log == expected_log


@pytest.mark.parametrize("endpoint", [finish, Ends([])])
def test_an_endpoint_is_an_async_function_or_an_object_with_handle(endpoint: object) -> None:
    assert run_without_a_loop(compile_chain([], endpoint)) == Completed()


def test_a_handle_that_takes_call_next_or_does_without_may_stand_anywhere() -> None:
    class Either:
        async def handle(self, session: Session, call_next: Handler = finish) -> Outcome:
            return await call_next(session)

    assert run_without_a_loop(compile_chain([Either(), no], finish)) is REFUSAL
    assert run_without_a_loop(compile_chain([], Either())) == Completed()


async def wait(session: Session) -> Outcome:
    await trio.lowlevel.checkpoint()
    return Completed()


@pytest.mark.parametrize("stages", [[no], [yes, no], [around, no], [yes, around, yes, no]])
async def test_a_refusal_makes_no_checkpoint(stages: list[object]) -> None:
    chain = compile_chain(stages, wait)
    with trio.testing.assert_no_checkpoints():
        assert await chain(make_session()) is REFUSAL


def test_leading_decisions_answer_without_a_coroutine() -> None:
    chain = compile_chain([yes, no, around], finish)
    assert chain.decide(make_session()) is REFUSAL
    assert compile_chain([yes, yes], finish).decide(make_session()) is CONTINUE
    assert compile_chain([around, no], finish).decide(make_session()) is CONTINUE, "not a leading one"


def test_what_is_behind_the_leading_decisions_does_not_ask_them_again() -> None:
    log: list[str] = []
    chain = compile_chain([Decides("leading", CONTINUE, log), Decides("next", CONTINUE, log)], Ends(log))
    with pytest.raises(StopIteration):
        cast(Any, chain.handle(make_session())).send(None)
    assert log == ["endpoint"]


def test_one_chain_carries_many_sessions() -> None:
    chain = compile_chain([decision(lambda session: CONTINUE if session.source != "unix" else REFUSAL)], finish)
    sources = ["192.0.2.1", "unix", "192.0.2.1"]
    outcomes = [run_without_a_loop(chain, make_session(source=source)) for source in sources]
    assert outcomes == [Completed(), REFUSAL, Completed()]


def test_a_middleware_gives_the_rest_of_the_chain_the_session_it_likes() -> None:
    seen: list[str] = []

    @middleware
    async def rename(session: Session, call_next: Handler) -> Outcome:
        session.service = "renamed"
        return await call_next(session)

    @decision
    def look(session: Session) -> Verdict:
        seen.append(session.service)
        return CONTINUE

    run_without_a_loop(compile_chain([look, rename, look], finish))
    assert seen == ["default", "renamed"]


# What people and the edge are told of it.


LEADING = partial(Phase, "leading decisions")
MIDDLEWARE = partial(Phase, "middleware")
ENDPOINT = Phase("endpoint", ("finish",))


@pytest.mark.parametrize(
    ("stages", "phases", "direct"),
    [
        ([], [ENDPOINT], True),
        ([yes], [LEADING(("yes",)), ENDPOINT], True),
        ([yes, no], [LEADING(("yes", "no")), ENDPOINT], True),
        ([around], [MIDDLEWARE(("around",)), ENDPOINT], False),
        ([around, around], [MIDDLEWARE(("around",)), MIDDLEWARE(("around",)), ENDPOINT], False),
        (
            [yes, around, no, yes],
            [LEADING(("yes",)), MIDDLEWARE(("around",)), Phase("decisions", ("no", "yes")), ENDPOINT],
            False,
        ),
        (
            [around, yes, around],
            [MIDDLEWARE(("around",)), Phase("decisions", ("yes",)), MIDDLEWARE(("around",)), ENDPOINT],
            False,
        ),
    ],
)
def test_phases_group_neighbouring_decisions_and_direct_means_no_phase_but_them(
    stages: list[object], phases: list[Phase], direct: bool
) -> None:
    chain = compile_chain(stages, finish)
    assert chain.phases == tuple(phases)
    assert chain.direct is direct
    assert chain.parts == (*stages, finish)


def test_stages_are_named_as_their_users_named_them() -> None:
    chain = compile_chain((Decides("a", CONTINUE, []), Wraps("b", []), around, yes), Ends([]))
    assert [phase.stages for phase in chain.phases] == [("Decides",), ("Wraps",), ("around",), ("yes",), ("Ends",)]


# What is refused at start.


class Both:
    def decide(self, session: Session) -> Verdict:
        return CONTINUE

    async def handle(self, session: Session, call_next: Handler) -> Outcome:
        return await call_next(session)


class Neither:
    pass


class AsyncDecide:
    async def decide(self, session: Session) -> Verdict:
        return CONTINUE


class TwoArguments:
    def decide(self, session: Session, now: float) -> Verdict:
        return CONTINUE


class KeywordArgument:
    def decide(self, session: Session, *, now: float) -> Verdict:
        return CONTINUE


class SyncHandle:
    def handle(self, session: Session, call_next: Handler) -> Awaitable[Outcome]:
        return call_next(session)


class ThreeArguments:
    async def handle(self, session: Session, call_next: Handler, now: float) -> Outcome:
        return await call_next(session)


class SyncEndpoint:
    def handle(self, session: Session) -> Outcome:
        return Completed()


def unlifted(session: Session) -> Verdict:
    return CONTINUE


async def async_decision(session: Session) -> Verdict:
    return CONTINUE


async def no_arguments() -> Outcome:
    return Completed()


async def finish_late(session: Session, call_next: Handler, now: float) -> Outcome:
    return Completed()


A_DECISION_CANNOT_WAIT = "decide() is async, and a decision cannot wait: make it a plain def"


@pytest.mark.parametrize(
    ("stage", "where", "why_and_mend"),
    [
        (Decides, "stage 2 (Decides)", "is a class, not a stage: call it, Decides(...)"),
        (
            Both(),
            "stage 2 (Both)",
            "has both decide() and handle(): a stage is a decision or a middleware; make it two",
        ),
        (Neither(), "stage 2 (Neither)", "neither decide(session) nor handle(session, call_next): give it one of them"),
        (None, "stage 2 (NoneType)", "neither decide(session) nor handle(session, call_next): give it one of them"),
        ("yes", "stage 2 (str)", "neither decide(session) nor handle(session, call_next): give it one of them"),
        (unlifted, "stage 2 (unlifted)", "lift a function with @decision or @middleware"),
        (finish, "stage 2 (finish)", "lift a function with @decision or @middleware"),
        (AsyncDecide(), "stage 2 (AsyncDecide)", A_DECISION_CANNOT_WAIT),
        (decision(cast(Any, async_decision)), "stage 2 (async_decision)", A_DECISION_CANNOT_WAIT),
        (TwoArguments(), "stage 2 (TwoArguments)", "decide() must take the session and nothing else"),
        (KeywordArgument(), "stage 2 (KeywordArgument)", "decide() must take the session and nothing else"),
        (
            decision(cast(Any, lambda: CONTINUE)),
            "stage 2 (<lambda>)",
            "decide() must take the session and nothing else",
        ),
        (SyncHandle(), "stage 2 (SyncHandle)", "handle() is not async: write async def"),
        (ThreeArguments(), "stage 2 (ThreeArguments)", "handle() must take the session and call_next"),
        (middleware(cast(Any, no_arguments)), "stage 2 (no_arguments)", "handle() must take the session and call_next"),
        (Ends([]), "stage 2 (Ends)", "is an endpoint among the stages: pass it as endpoint="),
        (SyncEndpoint(), "stage 2 (SyncEndpoint)", "is an endpoint among the stages: pass it as endpoint="),
    ],
)
def test_a_stage_that_cannot_be_is_named_with_why_and_the_mend(stage: object, where: str, why_and_mend: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes, stage, around], finish)
    assert str(refusal.value).startswith(where)
    assert why_and_mend in str(refusal.value)


@pytest.mark.parametrize(
    ("endpoint", "why_and_mend"),
    [
        (None, "no endpoint: say where sessions go, for example endpoint=Forward("),
        (Ends, "endpoint (Ends) is a class, not an endpoint: call it, Ends(...)"),
        (around, "endpoint (around) is a middleware: move it into stages and name an endpoint behind it"),
        (Wraps("a", []), "endpoint (Wraps) is a middleware: move it into stages and name an endpoint behind it"),
        (yes, "endpoint (yes) cannot end a chain: it needs async handle(session)"),
        (Decides("a", CONTINUE, []), "endpoint (Decides) cannot end a chain: it needs async handle(session)"),
        (Both(), "endpoint (Both) cannot end a chain: it needs async handle(session)"),
        (Neither(), "endpoint (Neither) cannot end a chain: it needs async handle(session)"),
        ("tcp://127.0.0.1:1", "endpoint (str) cannot end a chain: it needs async handle(session)"),
        (SyncEndpoint(), "endpoint (SyncEndpoint) is not async: write async def"),
        (unlifted, "endpoint (unlifted) is not async: write async def"),
        (no_arguments, "endpoint (no_arguments) must take the session and nothing else"),
        (finish_late, "endpoint (finish_late) must take the session and nothing else"),
    ],
)
def test_an_endpoint_that_cannot_be_is_named_with_why_and_the_mend(endpoint: object, why_and_mend: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes], endpoint)
    assert str(refusal.value).startswith(why_and_mend)


@pytest.mark.parametrize(
    ("place", "where"), [("stages", "stage 1 (coroutine) is"), ("endpoint", "endpoint (coroutine) is")]
)
def test_a_coroutine_in_place_of_its_function_is_refused_and_closed(place: str, where: str) -> None:
    coroutine = finish(make_session())
    try:
        with pytest.raises(ConfigurationError) as refusal:
            compile_chain(*(([coroutine], finish) if place == "stages" else ([], coroutine)))
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED, "it would warn that nobody awaited it"
        assert f"{where} a coroutine, already called: pass the function, without ()" in str(refusal.value)
    finally:
        coroutine.close()


@pytest.mark.parametrize(
    ("stages", "what"),
    [
        ("yes", "str"),
        (b"yes", "bytes"),
        (None, "NoneType"),
        (yes, "yes"),
        ({yes}, "set"),
        (iter([yes]), "list_iterator"),
    ],
)
def test_stages_that_are_no_list_are_refused(stages: Any, what: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain(stages, finish)
    assert str(refusal.value) == f"stages must be a list of stages, not {what}: write stages=[...]"


# What a stage needs, an earlier one names.


@decision(provides=("service",))
def tenant(session: Session) -> Verdict:
    return CONTINUE


@decision(provides=("destination",))
def route(session: Session) -> Verdict:
    return CONTINUE


@decision(requires=("service",))
def quota(session: Session) -> Verdict:
    return CONTINUE


@decision(requires=("destination",))
def allowed(session: Session) -> Verdict:
    return CONTINUE


@decision(requires=("service",), provides=("service",))
def alias(session: Session) -> Verdict:
    return CONTINUE


class Dials(Ends):
    requires = ("destination",)


@pytest.mark.parametrize(
    "stages", [[quota], [tenant, quota], [route, allowed], [tenant, route, quota, allowed], [tenant, alias, quota]]
)
def test_a_stage_may_need_what_an_earlier_one_names_and_the_service_that_nobody_does(stages: list[object]) -> None:
    assert run_without_a_loop(compile_chain(stages, finish)) == Completed()


def test_an_endpoint_may_need_what_a_stage_names() -> None:
    assert run_without_a_loop(compile_chain([route], Dials([]))) == Completed()


@pytest.mark.parametrize(
    ("stages", "where", "fact", "mend"),
    [
        ([yes, quota, tenant], "stage 2 (quota)", "service", "move it behind tenant, which names it"),
        ([allowed, route], "stage 1 (allowed)", "destination", "move it behind route, which names it"),
        ([tenant, allowed], "stage 2 (allowed)", "destination", "put a stage before it that names the destination"),
        ([alias], "stage 1 (alias)", "service", "put a stage before it that names the service"),
    ],
)
def test_a_need_that_nothing_meets_in_time_is_refused_with_the_mend(
    stages: list[object], where: str, fact: str, mend: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain(stages, finish)
    assert str(refusal.value) == f"{where} needs the session's {fact} before anything names it: {mend}"


def test_an_endpoint_with_an_unmet_need_is_not_called_a_stage() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes], Dials([]))
    assert str(refusal.value) == (
        "endpoint (Dials) needs the session's destination before anything names it: "
        "put a stage before it that names the destination"
    )


@pytest.mark.parametrize("word", ["requires", "provides"])
def test_text_in_place_of_a_tuple_of_facts_is_refused_with_the_tuple_to_write(word: str) -> None:
    """Read letter by letter, it would name nothing that anybody needs, and the check would be off."""
    said: dict[str, Any] = {word: "service"}
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes, decision(**said)(unlifted)], finish)
    assert str(refusal.value).startswith("stage 2 (unlifted)")
    assert f"{word}=('service',)" in str(refusal.value)


# What is refused when it happens.


@pytest.mark.parametrize("before", [[], [yes], [yes, around, yes]])
@pytest.mark.parametrize("answer", [None, True, False, "continue", Completed(), Reason.POLICY, Reject])
def test_a_decision_that_answers_anything_else_is_named(before: list[object], answer: Any) -> None:
    @decision
    def forgetful(session: Session) -> Verdict:
        return cast(Verdict, answer)

    chain = compile_chain([*before, forgetful, yes], finish)
    with pytest.raises(TypeError) as refusal:
        chain(make_session()).send(None)
    assert str(refusal.value) == (
        f"decision forgetful returned {answer!r}; a decision returns CONTINUE or Reject(reason, detail)"
    )


@pytest.mark.parametrize("answer", [None, True, CONTINUE, Reason.FINISHED])
def test_a_middleware_that_answers_anything_else_is_named(answer: Any) -> None:
    @middleware
    async def forgetful(session: Session, call_next: Handler) -> Outcome:
        await call_next(session)
        return cast(Outcome, answer)

    with pytest.raises(TypeError) as refusal:
        compile_chain([yes, around, forgetful], finish)(make_session()).send(None)
    assert str(refusal.value).startswith(
        f"middleware forgetful returned {answer!r}; it must `return await call_next(session)`"
    )


def test_what_a_stage_raises_comes_through() -> None:
    @decision
    def broken(session: Session) -> Verdict:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_chain([around, broken], finish)(make_session()).send(None)


# What a clock adds.


class Ticks:
    """A clock that tells another time, a microsecond later, whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1000
        return self.now


@examples(50)
@given(st.lists(st.sampled_from(["yes", "yes", "no", "around"]), max_size=8))
def test_a_timed_chain_does_the_same_and_counts_each_stage_that_a_session_came_to(kinds: list[str]) -> None:
    log: list[str] = []
    stages = [
        Wraps(f"{number}", log)
        if kind == "around"
        else Decides(f"{number}", CONTINUE if kind == "yes" else REFUSAL, log)
        for number, kind in enumerate(kinds)
    ]
    expected_log, expected_outcome = story(stages)
    chain, session = compile_chain(stages, Ends(log), clock=Ticks()), make_session()
    assert run_without_a_loop(chain, session) == expected_outcome
    assert log == expected_log
    came = kinds.index("no") + 1 if "no" in kinds else len(kinds)
    assert [sum(buckets) for buckets in chain.counts] == [1] * came + [0] * (len(kinds) - came)
    assert all(buckets[(1000).bit_length()] == 1 for buckets in chain.counts[:came])
    assert session.trace is not None
    assert [took >= 0 for took in session.trace] == [True] * (came - ("no" in kinds)) + [False] * ("no" in kinds)


def test_without_a_clock_nothing_is_counted_or_written_down() -> None:
    chain, session = compile_chain([yes, around, yes], finish), make_session()
    run_without_a_loop(chain, session)
    assert (chain.counts, session.trace) == ((), None)


def test_a_stage_that_raises_is_not_counted() -> None:
    @decision
    def broken(session: Session) -> Verdict:
        raise ZeroDivisionError

    chain, session = compile_chain([yes, broken], finish, clock=Ticks()), make_session()
    with pytest.raises(ZeroDivisionError):
        chain.decide(session)
    assert [sum(buckets) for buckets in chain.counts] == [1, 0]
    assert session.trace == [1000]


@pytest.mark.parametrize("answer", [None, True, Completed()])
def test_a_timed_decision_that_answers_anything_else_is_named_too(answer: Any) -> None:
    @decision
    def forgetful(session: Session) -> Verdict:
        return cast(Verdict, answer)

    with pytest.raises(TypeError, match=r"decision forgetful returned .*; a decision returns CONTINUE or Reject"):
        compile_chain([yes, forgetful], finish, clock=Ticks()).decide(make_session())


async def test_a_refusal_makes_no_checkpoint_with_a_clock_either() -> None:
    chain = compile_chain([yes, around, no], wait, clock=Ticks())
    with trio.testing.assert_no_checkpoints():
        assert await chain(make_session()) is REFUSAL
