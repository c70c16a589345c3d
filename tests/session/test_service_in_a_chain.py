"""A stage names the session's service, or one that may have no sessions, and the chain looks behind each stage."""

from typing import Any

import pytest

from tests.support.homes import Home
from trioedge.session.chain import Chain, compile_chain
from trioedge.session.session import Session
from trioedge.session.stage import FunctionDecision, FunctionMiddleware, Handler, decision, middleware
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict

UNKNOWN = Reject(Reason.SERVICE, "no such service")
CLOSED = Reject(Reason.POLICY, "closed")


class World:
    """A chain's session, and the log of its stages."""

    def __init__(self) -> None:
        self.home = Home()
        self.home.put("shop")
        self.session = self.home.session()
        self.log: list[str] = []

    def names(self, *names: str, verdict: Verdict = CONTINUE) -> FunctionDecision:
        """Make a decision that names these services, one after the other."""

        @decision(provides=("service",))
        def name(session: Session) -> Verdict:
            for each in names:
                session.service = each
            return verdict

        return name

    def middleware_names(self, name: str) -> FunctionMiddleware:
        @middleware(provides=("service",))
        async def rename(session: Session, call_next: Handler) -> Outcome:
            session.service = name
            outcome = await call_next(session)
            self.log.append(f"middleware saw {outcome.reason}")
            return outcome

        return rename

    def next_stage(self) -> FunctionDecision:
        @decision
        def next_stage(session: Session) -> Verdict:
            self.log.append(f"next stage saw {session.service.name!r}")
            return CONTINUE

        return next_stage

    async def endpoint(self, session: Session) -> Outcome:
        self.log.append(f"endpoint saw {session.service.name!r}, began={session.began}")
        return Completed()

    def run(self, *stages: object, clock: Any = None) -> Outcome:
        chain: Chain = compile_chain(stages, self.endpoint, clock=clock)
        with pytest.raises(StopIteration) as stop:
            chain(self.session).send(None)
        outcome: Outcome = stop.value.value
        return outcome


@pytest.mark.parametrize("clock", [None, lambda: 0], ids=["untimed", "timed"])
def test_behind_a_decision_that_names_an_unknown_service_nothing_runs(clock: Any) -> None:
    world = World()
    assert world.run(world.names("nobody"), world.next_stage(), clock=clock) == UNKNOWN
    assert world.log == []
    assert not world.session.began


@pytest.mark.parametrize("clock", [None, lambda: 0], ids=["untimed", "timed"])
def test_behind_a_decision_that_names_a_known_service_all_see_it(clock: Any) -> None:
    world = World()
    assert world.run(world.names("shop"), world.next_stage(), clock=clock) == Completed()
    assert world.log == ["next stage saw 'shop'", "endpoint saw 'shop', began=True"]


def test_a_decision_may_try_several_names_and_the_last_one_counts() -> None:
    world = World()
    assert world.run(world.names("nobody", "shop"), world.next_stage()) == Completed()
    other = World()
    assert other.run(other.names("shop", "nobody"), other.next_stage()) == UNKNOWN


def test_a_decision_that_refuses_by_itself_gives_its_own_reason() -> None:
    world = World()
    assert world.run(world.names("nobody", verdict=CLOSED)) == CLOSED


@pytest.mark.parametrize("clock", [None, lambda: 0], ids=["untimed", "timed"])
def test_a_middleware_that_names_an_unknown_service_is_given_the_refusal_by_the_rest_of_the_chain(clock: Any) -> None:
    world = World()
    assert world.run(world.middleware_names("nobody"), world.next_stage(), clock=clock) == UNKNOWN
    assert world.log == ["middleware saw service"]


def test_a_decision_behind_a_middleware_is_looked_at_too() -> None:
    world = World()
    assert world.run(world.middleware_names("shop"), world.names("nobody"), world.next_stage()) == UNKNOWN
    assert world.log == ["middleware saw service"]


def test_a_refused_session_traces_the_stage_that_named_the_service_as_the_last() -> None:
    world = World()
    ticks = iter(range(0, 1_000, 7))
    world.run(world.next_stage(), world.names("nobody"), world.next_stage(), clock=lambda: next(ticks))
    assert world.session.trace == [7, ~7]


def test_a_middleware_cannot_name_another_service_once_the_endpoint_has_run() -> None:
    world = World()

    @middleware
    async def late(session: Session, call_next: Handler) -> Outcome:
        outcome = await call_next(session)
        session.service = "shop"
        return outcome

    chain = compile_chain([late], world.endpoint)
    with pytest.raises(RuntimeError, match=r"session\.service is final once the endpoint has begun: name it in"):
        chain(world.session).send(None)
    assert world.log == ["endpoint saw '', began=True"]


# The rest of the chain, twice.


@middleware
async def twice(session: Session, call_next: Handler) -> Outcome:
    await call_next(session)
    return await call_next(session)


@middleware
async def around(session: Session, call_next: Handler) -> Outcome:
    return await call_next(session)


@pytest.mark.parametrize("clock", [None, lambda: 0], ids=["untimed", "timed"])
@pytest.mark.parametrize("behind", [[], [around], [around, around]])
def test_a_middleware_that_awaits_call_next_twice_is_refused_the_second_time(behind: list[object], clock: Any) -> None:
    world = World()
    chain = compile_chain([twice, *behind], world.endpoint, clock=clock)
    with pytest.raises(RuntimeError) as refusal:
        chain(world.session).send(None)
    assert str(refusal.value) == ("a middleware awaited call_next twice: the session's bytes go to one endpoint, once")
    assert world.log == ["endpoint saw '', began=True"]
