"""The shapes users implement, and the decorators that lift a plain function into one.

A decision is ``(Session) -> Verdict`` and cannot wait. A middleware is ``async (Session, call_next) -> Outcome``.
Prefer the first: it runs before the session has a task.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import attrs

from .session import Session
from .verdict import Outcome, Verdict

Handler: TypeAlias = Callable[[Session], Awaitable[Outcome]]
"""What carries a session to its end."""


@runtime_checkable
class Decision(Protocol):
    """Answers from memory, now. It has no way to wait, so it cannot stall a handshake."""

    def decide(self, session: Session, /) -> Verdict:
        """Say CONTINUE, or Reject with a reason."""


@runtime_checkable
class Middleware(Protocol):
    """Stands around the rest of the chain; costs the session a task."""

    def handle(self, session: Session, call_next: Handler, /) -> Awaitable[Outcome]:
        """An ``async def``. Do something, ``return await call_next(session)`` at most once, do something."""


@runtime_checkable
class Endpoint(Protocol):
    """The end of the chain: where the session's bytes go."""

    def handle(self, session: Session, /) -> Awaitable[Outcome]:
        """An ``async def``. Carry the session to its end."""


@runtime_checkable
class Worker(Protocol):
    """A stage or endpoint with work of its own in the background, in the edge's nursery."""

    async def run(self, *, task_status: Any) -> None:
        """Work until cancelled. The edge listens once every worker has called `task_status.started()`.

        `task_status` is trio's: annotate it with `trio.TaskStatus[None]`.
        """


@attrs.frozen(slots=True, repr=False)
class FunctionDecision:
    """A plain function as a decision; still callable, so it is tested as the function it is."""

    decide: Callable[[Session], Verdict]
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    def __call__(self, session: Session) -> Verdict:
        return self.decide(session)

    def __repr__(self) -> str:
        return f"decision({self.decide.__name__})"


@attrs.frozen(slots=True, repr=False)
class FunctionMiddleware:
    """A plain async function as a middleware; still callable."""

    handle: Callable[[Session, Handler], Awaitable[Outcome]]
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    def __call__(self, session: Session, call_next: Handler) -> Awaitable[Outcome]:
        return self.handle(session, call_next)

    def __repr__(self) -> str:
        return f"middleware({self.handle.__name__})"


DecisionFunction: TypeAlias = Callable[[Session], Verdict]
MiddlewareFunction: TypeAlias = Callable[[Session, Handler], Awaitable[Outcome]]


@overload
def decision(function: DecisionFunction, /) -> FunctionDecision: ...
@overload
def decision(
    *, requires: tuple[str, ...] = (), provides: tuple[str, ...] = ()
) -> Callable[[DecisionFunction], FunctionDecision]: ...
def decision(
    function: DecisionFunction | None = None, /, *, requires: tuple[str, ...] = (), provides: tuple[str, ...] = ()
) -> FunctionDecision | Callable[[DecisionFunction], FunctionDecision]:
    """Make a stage of ``def function(session) -> Verdict``.

    Args:
        function: answers from memory; an ``async def`` is refused when the chain is compiled.
        requires: session fields (``"service"``, ``"destination"``) that an earlier stage must have named.
        provides: session fields that this function writes.
    """
    if function is None:
        return lambda function: FunctionDecision(function, requires, provides)
    return FunctionDecision(function, requires, provides)


@overload
def middleware(function: MiddlewareFunction, /) -> FunctionMiddleware: ...
@overload
def middleware(
    *, requires: tuple[str, ...] = (), provides: tuple[str, ...] = ()
) -> Callable[[MiddlewareFunction], FunctionMiddleware]: ...
def middleware(
    function: MiddlewareFunction | None = None,
    /,
    *,
    requires: tuple[str, ...] = (),
    provides: tuple[str, ...] = (),
) -> FunctionMiddleware | Callable[[MiddlewareFunction], FunctionMiddleware]:
    """Make a stage of ``async def function(session, call_next) -> Outcome``.

    Args:
        function: awaits `call_next(session)` at most once and returns an outcome.
        requires: session fields (``"service"``, ``"destination"``) that an earlier stage must have named.
        provides: session fields that this function writes.
    """
    if function is None:
        return lambda function: FunctionMiddleware(function, requires, provides)
    return FunctionMiddleware(function, requires, provides)
