from functools import partial
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.session.chain import Chain, compile_chain
from trioedge.session.outline import Phase
from trioedge.session.session import Session
from trioedge.session.stage import Handler, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict
from trioedge.structures.times import BUCKETS, TOTAL
from trioedge.testing import make_session

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
    """Run a chain that never waits, without an event loop."""
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
    """Give the log and the outcome that a chain should have, by recursion over its stages."""
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


def test_the_rest_of_a_chain_does_not_ask_the_leading_decisions_again() -> None:
    log: list[str] = []
    chain = compile_chain([Decides("leading", CONTINUE, log), Decides("next", CONTINUE, log)], Ends(log))
    with pytest.raises(StopIteration):
        cast(Any, chain.handle(make_session())).send(None)
    assert log == ["endpoint"]


def test_one_chain_carries_many_sessions() -> None:
    chain = compile_chain([decision(lambda session: CONTINUE if session.source != "unix" else REFUSAL)], finish)
    sources = ["192.0.2.1", "unix", "192.0.2.1"]
    outcomes = [run_without_a_loop(chain, make_session(source)) for source in sources]
    assert outcomes == [Completed(), REFUSAL, Completed()]


def test_a_middleware_may_change_the_session_for_the_rest_of_the_chain() -> None:
    seen: list[str] = []

    @middleware
    async def rename(session: Session, call_next: Handler) -> Outcome:
        session.service = "renamed"
        return await call_next(session)

    @decision
    def look(session: Session) -> Verdict:
        seen.append(session.service.name)
        return CONTINUE

    run_without_a_loop(compile_chain([look, rename, look], finish))
    assert seen == ["default", "renamed"]


# Its phases and parts.


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


def test_phases_name_stages_as_their_users_named_them() -> None:
    chain = compile_chain((Decides("a", CONTINUE, []), Wraps("b", []), around, yes), Ends([]))
    assert [phase.stages for phase in chain.phases] == [("Decides",), ("Wraps",), ("around",), ("yes",), ("Ends",)]


# The order that facts ask for.


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
def test_a_stage_may_require_a_fact_of_an_earlier_stage_and_the_service_of_every_session(stages: list[object]) -> None:
    assert run_without_a_loop(compile_chain(stages, finish)) == Completed()


def test_an_endpoint_may_require_a_fact_of_a_stage() -> None:
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
def test_a_fact_that_no_stage_provides_in_time_is_refused_with_the_mend(
    stages: list[object], where: str, fact: str, mend: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain(stages, finish)
    assert str(refusal.value) == f"{where} needs the session's {fact} before anything names it: {mend}"


def test_an_endpoint_without_its_fact_is_refused_as_an_endpoint() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        compile_chain([yes], Dials([]))
    assert str(refusal.value) == (
        "endpoint (Dials) needs the session's destination before anything names it: "
        "put a stage before it that names the destination"
    )


# Answers that are none.


@pytest.mark.parametrize("before", [[], [yes], [yes, around, yes]])
@pytest.mark.parametrize("answer", [None, True, False, "continue", Completed(), Reason.POLICY, Reject])
def test_a_decision_that_returns_no_verdict_is_named(before: list[object], answer: Any) -> None:
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
def test_a_middleware_that_returns_no_outcome_is_named(answer: Any) -> None:
    @middleware
    async def forgetful(session: Session, call_next: Handler) -> Outcome:
        await call_next(session)
        return cast(Outcome, answer)

    with pytest.raises(TypeError) as refusal:
        compile_chain([yes, around, forgetful], finish)(make_session()).send(None)
    assert str(refusal.value).startswith(
        f"middleware forgetful returned {answer!r}; it must `return await call_next(session)`"
    )


def test_an_exception_of_a_stage_comes_through() -> None:
    @decision
    def broken(session: Session) -> Verdict:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_chain([around, broken], finish)(make_session()).send(None)


# Its times.


class Ticks:
    """A clock that goes on by a microsecond each time that it is read."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1000
        return self.now


@examples(50)
@given(st.lists(st.sampled_from(["yes", "yes", "no", "around"]), max_size=8))
def test_a_timed_chain_does_the_same_and_counts_each_stage_that_a_session_reached(kinds: list[str]) -> None:
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
    reached = kinds.index("no") + 1 if "no" in kinds else len(kinds)
    assert [sum(buckets[:BUCKETS]) for buckets in chain.counts] == [1] * reached + [0] * (len(kinds) - reached)
    assert all(buckets[(1000).bit_length()] == 1 and buckets[TOTAL] == 1000 for buckets in chain.counts[:reached])
    assert session.trace is not None
    assert [took >= 0 for took in session.trace] == [True] * (reached - ("no" in kinds)) + [False] * ("no" in kinds)


def test_without_a_clock_no_time_is_counted_or_traced() -> None:
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
    assert [sum(buckets[:BUCKETS]) for buckets in chain.counts] == [1, 0]
    assert session.trace == [1000]


@pytest.mark.parametrize("answer", [None, True, Completed()])
def test_a_timed_decision_that_returns_no_verdict_is_named_too(answer: Any) -> None:
    @decision
    def forgetful(session: Session) -> Verdict:
        return cast(Verdict, answer)

    with pytest.raises(TypeError, match=r"decision forgetful returned .*; a decision returns CONTINUE or Reject"):
        compile_chain([yes, forgetful], finish, clock=Ticks()).decide(make_session())


async def test_a_refusal_makes_no_checkpoint_with_a_clock_either() -> None:
    chain = compile_chain([yes, around, no], wait, clock=Ticks())
    with trio.testing.assert_no_checkpoints():
        assert await chain(make_session()) is REFUSAL
