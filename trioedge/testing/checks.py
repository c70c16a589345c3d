"""Checks of a decision and of a middleware: whether each keeps the promises that the edge relies on."""

import inspect
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
import trio.testing

from ..errors import ConfigurationError
from ..relay.streams import ReplayStream
from ..services.context import EdgeContext
from ..session.chain import Chain, open_chain
from ..session.kinds import DECISION, MIDDLEWARE, close_parts, facts_of, kind_of, name_of
from ..session.outline import outline
from ..session.session import Session
from ..session.stage import FunctionDecision, Handler
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from .cancels import MAX_STEPS, cancel_before
from .context import make_context
from .leaks import leaving_nothing
from .sessions import make_session
from .upstream import memory_pair

HOUR: Final = 3600.0
"""How long a check waits, in seconds of a clock that should be a fake one."""

FACTS: Final = ("source", "service", "device", "destination")
"""Session fields whose writers say so with ``provides``."""


def check_decision(
    decision: object, sessions: Iterable[Session] | None = None, *, context: EdgeContext | None = None
) -> None:
    """Check that a decision answers with a verdict, writes only what it says, and cleans up without raising.

    Needs no event loop, because a decision has none.

    Args:
        decision: the stage, as in ``stages=[…]``.
        sessions: to ask it about, in this order; by default one of IPv4, one of IPv6 and one of a local socket.
        context: to open a recipe with; by default :func:`make_context` makes one.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no decision.
    """
    chain = _open_alone(decision, DECISION, context)
    name = name_of(decision)
    live: Any = chain.parts[1]
    if sessions is None:
        sessions = [make_session(source, now=now) for now, source in enumerate(("192.0.2.1", "2001:db8::1", "unix"))]
    asked: list[tuple[Session, Outcome]] = []
    for session in sessions:
        before = written(session)
        verdict = live.decide(session)
        if inspect.iscoroutine(verdict):
            verdict.close()
            raise AssertionError(f"{name} gave a coroutine: a decision cannot wait")
        assert verdict is CONTINUE or isinstance(verdict, Reject), f"{verdict!r} is neither CONTINUE nor a Reject"
        assert session.outcome is None, f"{name} ended the session: a decision returns Reject"
        check_provided(chain, name, session, before)
        asked.append((session, Completed() if verdict is CONTINUE else verdict))
    for session, outcome in asked:
        faults = session.end(outcome)
        assert not faults, f"a deferred clean-up of {name} raised {faults[0]!r}"
    close_parts(chain.parts, FaultsFail())


async def check_middleware(middleware: object, *, client_says: bytes = b"", context: EdgeContext | None = None) -> None:
    """Check a middleware in a trio test; a fake clock (`autojump_clock`) makes it instant.

    It calls the rest of the chain at most once, returns an outcome, writes only what it says, passes on a fault and a
    cancel, whenever the cancel comes, and leaves no task and nothing open.

    Args:
        middleware: the stage, as in ``stages=[…]``. The worker of a recipe runs.
        client_says: sent by the client before it finishes sending.
        context: to open a recipe with; by default :func:`make_context` makes one.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no middleware.
    """
    chain = _open_alone(middleware, MIDDLEWARE, context)
    check = _MiddlewareCheck(chain, name_of(middleware), client_says)
    async with leaving_nothing(check.name), _at_work(chain):
        for outcome in (Completed(), Completed(Reason.RESET), Reject(Reason.POLICY, "by the next stage")):
            await check.answers(outcome)
        await check.passes_on_a_fault()
        await check.passes_on_a_cancel()
        for step in range(1, MAX_STEPS):
            if not await check.is_cancelled_before(step):
                break


class _MiddlewareCheck:
    """The checks of one middleware, each with another rest of the chain."""

    def __init__(self, chain: Chain, name: str, client_says: bytes) -> None:
        self.name = name
        self._chain = chain
        live: Any = chain.parts[1]
        self._handle = live.handle
        self._client_says = client_says

    async def answers(self, given: Outcome) -> None:
        """The rest of the chain returns `given`."""
        calls = 0
        session = await self._session()
        before = written(session)

        async def call_next(session: Session) -> Outcome:
            nonlocal calls
            calls += 1
            check_provided(self._chain, self.name, session, before)
            await trio.lowlevel.checkpoint()
            return given

        outcome: object = None
        with trio.move_on_after(HOUR) as limit:
            outcome = await self._handle(session, call_next)
        assert not limit.cancelled_caught, (
            f"{self.name} did not return within an hour: if it waits for the client, give client_says="
        )
        self._check_outcome(outcome)
        assert calls <= 1, f"{self.name} called the rest of the chain {calls} times"
        self._check_clean_ups(session)

    async def passes_on_a_fault(self) -> None:
        """The rest of the chain raises."""

        class NextFaultError(Exception):
            pass

        async def call_next(session: Session) -> Outcome:  # noqa: ARG001 - a handler's shape
            raise NextFaultError

        session = await self._session()
        try:
            self._check_outcome(await self._handle(session, call_next))
        except* NextFaultError:
            pass
        self._check_clean_ups(session)

    async def passes_on_a_cancel(self) -> None:
        """The session is cancelled while the rest of the chain runs."""
        session = await self._session()
        with trio.CancelScope() as scope:

            async def call_next(session: Session) -> Outcome:  # noqa: ARG001 - a handler's shape
                scope.cancel()
                await trio.sleep_forever()
                raise AssertionError  # never

            await self._without_another_fault(session, call_next)
        assert scope.cancelled_caught or not scope.cancel_called, f"{self.name} swallowed the cancel of its session"
        self._check_clean_ups(session)

    async def is_cancelled_before(self, step: int) -> bool:
        """Cancel it before a step; False when it was done before that."""

        async def call_next(session: Session) -> Outcome:  # noqa: ARG001 - a handler's shape
            await trio.lowlevel.checkpoint()
            return Completed()

        session = await self._session()
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
            await self._without_another_fault(session, call_next)
        self._check_clean_ups(session)
        return counter.reached

    async def _without_another_fault(self, session: Session, call_next: Handler) -> None:
        try:
            await self._handle(session, call_next)
        except Exception as fault:
            raise AssertionError(f"{self.name} made {fault!r} of a cancel") from fault

    async def _session(self) -> Session:
        client, edge = memory_pair(lockstep=False)
        await client.send_all(self._client_says)
        await client.send_eof()
        session = make_session(now=trio.current_time())
        session.stream = ReplayStream(edge)
        return session

    def _check_outcome(self, outcome: object) -> None:
        assert isinstance(outcome, (Completed, Reject)), (
            f"{self.name} returned {outcome!r}: `return await call_next(session)`, or an outcome of its own"
        )

    def _check_clean_ups(self, session: Session) -> None:
        faults = session.end(Completed())
        assert not faults, f"a deferred clean-up of {self.name} raised {faults[0]!r}"


class FaultsFail:
    """A log for which a fault is a failed check."""

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        """Fail the check.

        Raises:
            AssertionError: always.
        """
        raise AssertionError(f"{event}: {fault!r} {facts or ''}".strip()) from fault


class Nowhere:
    """An endpoint that ends every session. It says that it does what stages may require of an endpoint."""

    relays = True
    follows_destination = True

    async def handle(self, session: Session) -> Outcome:  # noqa: ARG002 - an endpoint's shape
        """End the session."""
        return Completed()


def naming(facts: tuple[str, ...]) -> FunctionDecision:
    """Return a decision that `provides` these fields, for a part that `requires` them."""
    return FunctionDecision(lambda _: CONTINUE, provides=facts)


def _open_alone(stage: object, kind: str, context: EdgeContext | None) -> Chain:
    """Open a chain of this stage, behind one that names the fields it requires."""
    name = name_of(stage)
    found = kind_of(stage, name)
    if found != kind:
        raise ConfigurationError(f"{name} is a {found}, not a {kind}: call check_{found} with it")
    facts = facts_of(stage, name)
    return open_chain(outline([naming(facts.requires), stage], Nowhere()), context or make_context())


@asynccontextmanager
async def _at_work(chain: Chain) -> AsyncIterator[None]:
    """Run the chain's workers for the length of a block, then close its parts."""
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        for worker in chain.workers:
            await nursery.start(worker.run)
        try:
            yield
        except Exception as error:  # raised below as it is, because the nursery would put it into a group
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    close_parts(chain.parts, FaultsFail())


def written(session: Session) -> dict[str, Any]:
    """Give the fields of a session that a stage may write, for :func:`check_provided`."""
    return {fact: getattr(session, fact) for fact in FACTS}


def check_provided(chain: Chain, name: str, session: Session, before: dict[str, Any]) -> None:
    """Check that a stage has written no field that its ``provides`` leaves out."""
    for fact, value in before.items():
        assert getattr(session, fact) == value or fact in chain.outline.facts[1].provides, (
            f"{name} writes session.{fact}: say provides=({fact!r},), so that the stages that read it come later"
        )
