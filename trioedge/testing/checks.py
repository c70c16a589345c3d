"""What every decision and every middleware owes the edge, as checks to call from a test."""

import inspect
from collections.abc import Iterable

import trio
import trio.testing

from ..relay.streams import ReplayStream
from ..session.chain import compile_chain
from ..session.session import Session
from ..session.stage import Decision, Middleware
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from .sessions import make_session
from .upstream import memory_pair


def check_decision(decision: Decision, sessions: Iterable[Session] | None = None) -> None:
    """Check what the edge relies on: it answers with a verdict, leaves the session alone, and cleans up quietly.

    Needs no event loop, which is the point.

    Args:
        decision: the stage.
        sessions: what to ask it about, in this order; by default a handful from IPv4, IPv6 and a local socket.

    Raises:
        AssertionError: says what the decision did.
        ConfigurationError: it is no decision.
    """
    chain = compile_chain([decision], _Nowhere())
    if sessions is None:
        sessions = [make_session(source, now=now) for now, source in enumerate(("192.0.2.1", "2001:db8::1", "unix"))]
    asked: list[tuple[Session, Outcome]] = []
    for session in sessions:
        before = (session.id, session.source, session.source_bytes, session.started_at)
        verdict = decision.decide(session)
        if inspect.iscoroutine(verdict):
            verdict.close()
            raise AssertionError(f"{chain.phases[0].stages[0]} gave a coroutine: a decision cannot wait")
        assert verdict is CONTINUE or isinstance(verdict, Reject), f"{verdict!r} is neither CONTINUE nor a Reject"
        assert (session.id, session.source, session.source_bytes, session.started_at) == before, (
            "a decision must not change who the session is"
        )
        assert session.outcome is None, "a decision must not end the session: it returns Reject"
        asked.append((session, Completed() if verdict is CONTINUE else verdict))
    for session, outcome in asked:
        faults = session.end(outcome)
        assert not faults, f"a deferred clean-up raised {faults[0]!r}"


async def check_middleware(middleware: Middleware, *, client_says: bytes = b"") -> None:
    """Check what the edge relies on, in a trio test; a fake clock (`autojump_clock`) makes it instant.

    It calls the rest of the chain at most once, returns an outcome, passes on a fault and a cancel, and leaves no
    task behind.

    Args:
        middleware: the stage.
        client_says: what the client sends first, for a middleware that reads.

    Raises:
        AssertionError: says what the middleware did.
        ConfigurationError: it is no middleware.
    """
    compile_chain([middleware], _Nowhere())
    tasks = trio.lowlevel.current_statistics().tasks_living

    for given in (Completed(), Completed(Reason.RESET), Reject(Reason.POLICY, "by the next stage")):
        calls = 0

        async def answer(session: Session, given: Outcome = given) -> Outcome:  # noqa: ARG001 - a handler's shape
            nonlocal calls
            calls += 1
            await trio.lowlevel.checkpoint()
            return given

        outcome = await middleware.handle(await _session(client_says), answer)
        assert isinstance(outcome, (Completed, Reject)), (
            f"it returned {outcome!r}: `return await call_next(session)`, or an outcome of its own"
        )
        assert calls <= 1, f"it called the rest of the chain {calls} times"

    class NextFaultError(Exception):
        pass

    async def fail(session: Session) -> Outcome:  # noqa: ARG001 - a handler's shape
        raise NextFaultError

    try:
        outcome = await middleware.handle(await _session(client_says), fail)
    except* NextFaultError:
        pass
    assert isinstance(outcome, (Completed, Reject)), f"it made {outcome!r} of a fault, which is no outcome"

    swallowed = False
    with trio.CancelScope() as scope:

        async def wait(session: Session) -> Outcome:  # noqa: ARG001 - a handler's shape
            scope.cancel()
            await trio.sleep_forever()
            raise AssertionError  # never

        await middleware.handle(await _session(client_says), wait)
        swallowed = scope.cancel_called
    assert not swallowed, "it swallowed the cancel of its session"
    living = trio.lowlevel.current_statistics().tasks_living
    assert living == tasks, f"it left {living - tasks} tasks behind"


async def _session(client_says: bytes) -> Session:
    client, edge = memory_pair(lockstep=False)
    await client.send_all(client_says)
    session = make_session(now=trio.current_time())
    session.stream = ReplayStream(edge)
    return session


class _Nowhere:
    """An endpoint behind which a stage may ask for the edge's relay."""

    relays = True

    async def handle(self, session: Session) -> Outcome:  # noqa: ARG002 - an endpoint's shape
        return Completed()
