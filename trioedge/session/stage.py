"""The protocols that users implement, and the decorators that make a stage of a plain function.

A decision is ``(Session) -> Verdict`` and cannot wait. A handshake is a generator, see :mod:`.handshake`. A middleware
is ``async (Session, call_next) -> Outcome``. Prefer the first two: they need no task.

An object in ``stages=[…]`` is a recipe. One without state is its own live stage. One that keeps state while an edge
serves has ``open(context)``, which makes the live stage of one run of one edge, so that one recipe may be in several
edges at once, or twice in one chain.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload, runtime_checkable

import attrs

from ..errors import quote
from .session import Session
from .verdict import Outcome, Verdict

if TYPE_CHECKING:
    from ..services.context import EdgeContext

Handler: TypeAlias = Callable[[Session], Awaitable[Outcome]]
"""An async function that carries a session to its end."""


@runtime_checkable
class Decision(Protocol):
    """A stage that answers from memory, now. It has no way to wait, so it cannot stall a handshake."""

    def decide(self, session: Session, /) -> Verdict:
        """Give CONTINUE, or Reject with a reason."""


@runtime_checkable
class Middleware(Protocol):
    """A stage around the rest of the chain; costs the session a task."""

    def handle(self, session: Session, call_next: Handler, /) -> Awaitable[Outcome]:
        """An ``async def`` that awaits ``call_next(session)`` at most once and returns its outcome, or another one."""


@runtime_checkable
class Endpoint(Protocol):
    """The end of the chain: where the session's bytes go."""

    def handle(self, session: Session, /) -> Awaitable[Outcome]:
        """Carry the session to its end; an ``async def``."""


@runtime_checkable
class Recipe(Protocol):
    """A stage or endpoint that keeps something while an edge serves."""

    def open(self, context: "EdgeContext", /) -> Any:
        """Make the live stage of one run of one edge: a decision, a handshake, a middleware or an endpoint.

        It is called before the edge accepts and must not wait. The recipe of a stage has ``kind = "decision"``,
        ``"handshake"`` or ``"middleware"``. A recipe does not change once an edge has it: the recipes that ship refuse
        a change, and `attrs.frozen` does so for yours.
        """


@runtime_checkable
class Worker(Protocol):
    """A live stage or endpoint that works in the background, in the edge's nursery."""

    async def run(self, *, task_status: Any) -> None:
        """Work until cancelled. The edge listens once every worker has called `task_status.started()`.

        `task_status` is trio's: annotate it with `trio.TaskStatus[None]`.
        """


@runtime_checkable
class Closing(Protocol):
    """A live stage or endpoint that has to be closed."""

    def close(self) -> None:
        """Close it. Called once, when no session is left and the workers have ended, also after a failed start."""


@runtime_checkable
class Composite(Protocol):
    """A live stage made of others, such as one for each of several protocols."""

    inner_stages: tuple[object, ...]
    """These live stages: the edge runs those that work, and closes those that have to be closed."""


@attrs.frozen(slots=True)
class Facts:
    """The facts of a stage or an endpoint, which are its attributes; each is optional.

    Attributes:
        kind: of the stage that ``open`` makes, ``decision``, ``handshake`` or ``middleware``; a stage without ``open``
            has none.
        requires: session fields that it reads (``service``, ``source``, ``destination``, ``device``). An earlier stage
            must have written them, and no later one may.
        provides: session fields that it writes.
        enforces: fields of a policy that it reads. A field that is set and that no part reads is logged as a warning.
        rechecks: fields of a policy. When one changes, the edge asks the decision again about the live sessions of the
            service, and cuts those that it rejects; so the decision must not count or spend anything.
        once: whether a chain may have it only once.
        inner_once: names of handshakes inside it that a chain may have only once.
        policy: an attrs class, whose fields are keys in every policy; ``session.policy[Hours]`` gives them.
        needs_relay: whether it works only where the edge relays the bytes.
        relays: of an endpoint, whether it relays with the edge's relay: ``context.relay``.
        needs_destination: whether it works only where the endpoint goes to the session's destination.
        follows_destination: of an endpoint, whether it goes there, and to addresses only that every one of the
            session's `address_rules` accepts.
        ignores_destination: of an endpoint, whether it never goes there, so that no stage may name one.
        taskless: of an endpoint, whether it carries plain sockets without a task of the session's.
        needs_control: whether it has no effect without the policies of a control plane.
        listeners: addresses of the edge that it names; one that the edge does not listen on is refused.
        descriptors: file descriptors that it keeps open besides those of sessions.
        seconds: of a handshake, its limit.
        max_bytes: of a handshake, the most bytes that it takes.
        proceeds: of a handshake, whether it yields ``PROCEED``, so that no other one may follow.
        source_bits: the IPv6 prefix length by which it counts sources, which is no coarser than the edge's; None for
            the edge's.
    """

    kind: str = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    enforces: tuple[str, ...] = ()
    rechecks: tuple[str, ...] = ()
    once: bool = False
    inner_once: tuple[str, ...] = ()
    policy: type[Any] | None = None
    needs_relay: bool = False
    relays: bool = False
    needs_destination: bool = False
    follows_destination: bool = False
    ignores_destination: bool = False
    taskless: bool = False
    needs_control: bool = False
    listeners: tuple[str, ...] = ()
    descriptors: int = 0
    seconds: float = 10.0
    max_bytes: int = 4096
    proceeds: bool = False
    source_bits: int | None = None


@attrs.frozen(slots=True, repr=False)
class FunctionDecision:
    """A plain function as a decision; still callable, so it is tested as the function it is."""

    decide: Callable[[Session], Verdict]
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    policy: type[Any] | None = None

    def __call__(self, session: Session) -> Verdict:
        return self.decide(session)

    def __repr__(self) -> str:
        return f"decision({_name(self.decide)})"


@attrs.frozen(slots=True, repr=False)
class FunctionMiddleware:
    """A plain async function as a middleware; still callable."""

    handle: Callable[[Session, Handler], Awaitable[Outcome]]
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    policy: type[Any] | None = None

    def __call__(self, session: Session, call_next: Handler) -> Awaitable[Outcome]:
        return self.handle(session, call_next)

    def __repr__(self) -> str:
        return f"middleware({_name(self.handle)})"


def _name(function: object) -> str:
    return getattr(function, "__name__", None) or quote(function)


DecisionFunction: TypeAlias = Callable[[Session], Verdict]
MiddlewareFunction: TypeAlias = Callable[[Session, Handler], Awaitable[Outcome]]


@overload
def decision(function: DecisionFunction, /) -> FunctionDecision: ...
@overload
def decision(
    *, requires: tuple[str, ...] = (), provides: tuple[str, ...] = (), policy: type[Any] | None = None
) -> Callable[[DecisionFunction], FunctionDecision]: ...
def decision(
    function: DecisionFunction | None = None,
    /,
    *,
    requires: tuple[str, ...] = (),
    provides: tuple[str, ...] = (),
    policy: type[Any] | None = None,
) -> FunctionDecision | Callable[[DecisionFunction], FunctionDecision]:
    """Make a stage of ``def function(session) -> Verdict``.

    Args:
        function: answers from memory; an ``async def`` is refused when the chain is compiled.
        requires: session fields that it reads, such as ``("service",)``; an earlier stage must have written them.
        provides: session fields that it writes.
        policy: an attrs class whose fields every policy may then set: ``session.policy[Hours]`` gives them.
    """
    if function is None:
        return lambda function: FunctionDecision(function, requires, provides, policy)
    return FunctionDecision(function, requires, provides, policy)


@overload
def middleware(function: MiddlewareFunction, /) -> FunctionMiddleware: ...
@overload
def middleware(
    *, requires: tuple[str, ...] = (), provides: tuple[str, ...] = (), policy: type[Any] | None = None
) -> Callable[[MiddlewareFunction], FunctionMiddleware]: ...
def middleware(
    function: MiddlewareFunction | None = None,
    /,
    *,
    requires: tuple[str, ...] = (),
    provides: tuple[str, ...] = (),
    policy: type[Any] | None = None,
) -> FunctionMiddleware | Callable[[MiddlewareFunction], FunctionMiddleware]:
    """Make a stage of ``async def function(session, call_next) -> Outcome``.

    Args:
        function: awaits `call_next(session)` at most once and returns an outcome.
        requires: session fields that it reads, such as ``("service",)``; an earlier stage must have written them.
        provides: session fields that it writes.
        policy: an attrs class whose fields every policy may then set: ``session.policy[Hours]`` gives them.
    """
    if function is None:
        return lambda function: FunctionMiddleware(function, requires, provides, policy)
    return FunctionMiddleware(function, requires, provides, policy)
