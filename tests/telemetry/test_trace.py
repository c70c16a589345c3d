"""The explanation of one session, and the times of stages over all sessions."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trioedge.session.chain import Chain, compile_chain
from trioedge.session.outline import outline
from trioedge.session.session import Session
from trioedge.session.stage import Handler, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict
from trioedge.structures.times import BUCKETS
from trioedge.telemetry.trace import Explanation, StageTimes, Step, explain, stage_times
from trioedge.testing import make_session

CLOSED = Reject(Reason.POLICY, "closed")
NOWHERE = Reject(Reason.SERVICE, "nowhere to go")


class Clock:
    """A clock that moves by `tick` nanoseconds at every reading."""

    def __init__(self, tick: int = 1000) -> None:
        self.now = 0
        self.tick = tick

    def __call__(self) -> int:
        self.now += self.tick
        return self.now


@decision
def yes(session: Session) -> Verdict:
    return CONTINUE


@decision
def no(session: Session) -> Verdict:
    return CLOSED


@decision
def broken(session: Session) -> Verdict:
    raise LookupError("no such thing")


@middleware
async def around(session: Session, call_next: Handler) -> Outcome:
    return await call_next(session)


@middleware
async def refuse(session: Session, call_next: Handler) -> Outcome:
    return CLOSED


@middleware
async def sets_a_deadline(session: Session, call_next: Handler) -> Outcome:
    await call_next(session)
    return Completed(Reason.DEADLINE)


async def finish(session: Session) -> Outcome:
    return Completed()


async def nowhere(session: Session) -> Outcome:
    return NOWHERE


class Carrier:
    """As much of a carrier as an explanation reads."""

    phase = "relaying"
    pacing = "kernel"

    def __init__(self, began_at: float | None) -> None:
        self.began_at = began_at

    def cut(self, reason: Reason) -> None: ...


def run(chain: Chain, session: Session) -> None:
    """Run a session through a chain as an edge does; a decision that raises ends the session."""
    coroutine = chain(session)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        session.end(stop.value)
    except LookupError as fault:
        session.end(Reject(Reason.FAULT, repr(fault)))


YES, AROUND = Step("yes", "continue", 1.0), Step("around", "continue", 1.0)


@pytest.mark.parametrize(
    ("stages", "endpoint", "steps"),
    [
        ([], finish, [Step("finish", "finished", None)]),
        ([yes, yes], finish, [YES, YES, Step("finish", "finished", None)]),
        ([no], finish, [Step("no", "policy: closed", 1.0)]),
        ([yes, no, yes], finish, [YES, Step("no", "policy: closed", 1.0)]),
        ([yes, around, yes, no], finish, [YES, AROUND, YES, Step("no", "policy: closed", 1.0)]),
        ([refuse], finish, [Step("refuse", "policy: closed", None)]),
        ([yes, refuse], finish, [YES, Step("refuse", "policy: closed", None)]),
        ([yes, around, refuse, yes], finish, [YES, AROUND, Step("refuse", "policy: closed", None)]),
        ([yes], nowhere, [YES, Step("nowhere", "service: nowhere to go", None)]),
        ([yes, around], nowhere, [YES, AROUND, Step("nowhere", "service: nowhere to go", None)]),
        ([yes, broken, yes], finish, [YES, Step("broken", "fault: LookupError('no such thing')", None)]),
        ([sets_a_deadline], finish, [Step("sets_a_deadline", "continue", 1.0), Step("finish", "deadline", None)]),
    ],
)
def test_a_session_is_explained_by_the_answer_and_time_of_each_stage(
    stages: list[object], endpoint: Callable[[Session], Awaitable[Outcome]], steps: list[Step]
) -> None:
    session, chain = make_session(), compile_chain(stages, endpoint, clock=Clock())
    run(chain, session)
    assert list(explain(session, chain.outline).steps) == steps


def test_a_middleware_is_timed_until_it_calls_the_rest_of_the_chain() -> None:
    clock = Clock(tick=0)

    def spend(name: str, before: int, after: int = 0) -> Any:
        class Spends:
            async def handle(self, session: Session, call_next: Handler) -> Outcome:
                clock.now += before
                outcome = await call_next(session)
                clock.now += after
                return outcome

        class Decides:
            def decide(self, session: Session) -> Verdict:
                clock.now += before
                return CONTINUE

        return Spends() if after else Decides()

    stages = [spend("a", 100), spend("b", 2000), spend("c", 300, 9999), spend("d", 4000, 9999), spend("e", 0)]
    chain = compile_chain(stages, finish, clock=clock)
    session = make_session()
    run(chain, session)
    assert session.trace == [100, 2000, 300, 4000, 0]
    assert [step.microseconds for step in explain(session, chain.outline).steps] == [0.1, 2.0, 0.3, 4.0, 0.0, None]


@pytest.mark.parametrize("took", [0, 1, 1500])
def test_a_refusal_in_no_time_is_explained_as_a_refusal(took: int) -> None:
    chain, session = compile_chain([yes, no], finish, clock=Clock(tick=took)), make_session()
    run(chain, session)
    assert explain(session, chain.outline).steps == (
        Step("yes", "continue", took / 1e3),
        Step("no", "policy: closed", took / 1e3),
    )


def test_a_session_that_reached_no_stage_has_no_steps() -> None:
    session = make_session()
    session.end(Reject(Reason.OVERLOAD))
    assert explain(session, outline([yes], finish)).steps == ()


@pytest.mark.parametrize(
    ("began_at", "answer", "microseconds"), [(None, "relaying", None), (0.002, "connected", pytest.approx(2000.0))]
)
def test_an_endpoint_is_explained_by_its_phase_or_as_connected(
    began_at: float | None, answer: str, microseconds: float | None
) -> None:
    session, chain = make_session(), compile_chain([yes], finish, clock=Clock())
    chain.decide(session)
    session.carrier = Carrier(began_at)  # type: ignore[assignment]
    found = explain(session, chain.outline)
    assert found == Explanation(session.id, "default", "192.0.2.1", found.steps, "relaying", "kernel", "")
    assert found.steps[0] == YES
    assert (found.steps[1].stage, found.steps[1].answer) == ("finish", answer)
    assert found.steps[1].microseconds == microseconds
    session.end(Completed(Reason.IDLE, "no byte"))
    after = explain(session, chain.outline)
    assert (after.phase, after.outcome) == ("ended", "idle: no byte")
    assert after.steps[1].answer == ("idle: no byte" if began_at is None else "connected")


def test_a_live_session_is_explained_up_to_its_present_stage() -> None:
    session, chain = make_session(), compile_chain([yes, refuse], finish, clock=Clock())
    chain.decide(session)
    assert explain(session, chain.outline).steps == (YES, Step("refuse", "deciding", None))


def test_an_explanation_is_printed_with_a_line_for_each_step() -> None:
    steps = (Step("SessionGate", "continue", 0.44), Step("Forward", "relaying", None))
    assert str(Explanation(7, "shop", "192.0.2.1", steps, "relaying", "", "")).splitlines() == [
        "session 7 of shop from 192.0.2.1: relaying",
        "  SessionGate      0.4 µs  continue",
        "  Forward                  relaying",
    ]
    over = Explanation(7, "shop", "192.0.2.1", (), "ended", "", "rate: too many")
    assert str(over) == "session 7 of shop from 192.0.2.1: rate: too many"


# Over all sessions.


def times(**counts: int) -> StageTimes:
    """Make the times of a stage: with ``b3=5``, five sessions are in bucket 3, from 4 to 7 nanoseconds."""
    buckets = [0] * BUCKETS
    for bucket, number in counts.items():
        buckets[int(bucket[1:])] = number
    return StageTimes("x", tuple(buckets))


@pytest.mark.parametrize(
    ("part", "microseconds"), [(0.0, 0.008), (0.5, 0.008), (0.9, 0.008), (0.91, 1.024), (0.99, 1.024), (1.0, 1048.576)]
)
def test_a_quantile_is_the_upper_end_of_its_bucket(part: float, microseconds: float) -> None:
    found = times(b3=90, b10=9, b20=1)
    assert found.sessions == 100
    assert found.below(part) == microseconds


def test_a_quantile_of_no_sessions_is_0() -> None:
    assert times().below(0.5) == 0


def test_every_session_is_counted_by_each_stage_that_it_reached() -> None:
    chain = compile_chain([yes, around, no], finish, clock=Clock(tick=1000))
    for _ in range(3):
        run(chain, make_session())
    assert [(each.stage, each.sessions, each.below(1)) for each in stage_times(chain.outline, chain.counts)] == [
        ("yes", 3, 1.024),
        ("around", 3, 1.024),
        ("no", 3, 1.024),
    ]
    assert stage_times(outline([yes], finish), ()) == [], "a chain without a clock"


def test_the_times_of_a_stage_are_added_up() -> None:
    chain = compile_chain([yes, around], finish, clock=Clock(tick=1000))
    for _ in range(3):
        run(chain, make_session())
    assert [each.nanoseconds for each in stage_times(chain.outline, chain.counts)] == [3_000, 3_000]
