"""Compile stages and an endpoint into one chain, once, at start; refuse nonsense with a way to mend it.

Neighbouring decisions become one loop. Middlewares wrap what follows them, right to left, so the order of the
list is the order of execution, outermost first.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

import attrs

from ..errors import ConfigurationError
from .requirements import check_facts
from .session import Session
from .stage import DecisionFunction, Endpoint, Handler
from .verdict import CONTINUE, Completed, Outcome, Reject, Verdict

Clock: TypeAlias = Callable[[], int]

BUCKETS: Final = 64
"""Of times: more than the nanoseconds of any session need."""


@attrs.frozen(slots=True)
class Phase:
    """Stages that run together, for people to read.

    Attributes:
        kind: ``leading decisions``, ``decisions``, ``middleware`` or ``endpoint``.
        stages: their names, in order of execution.
    """

    kind: str
    stages: tuple[str, ...]


@attrs.frozen(slots=True)
class Chain:
    """A compiled chain. Call it with a session to run all of it.

    Attributes:
        decide: the leading decisions as one function, which run before the session has a task.
        handle: everything behind them.
        phases: the chain, phase by phase.
        direct: True when only the endpoint is behind the leading decisions.
        parts: the stages and the endpoint themselves, in order.
        counts: for each stage, how many sessions took it how long, in buckets of powers of two nanoseconds; empty
            for a chain without a clock. See :mod:`trioedge.telemetry.trace`.
    """

    decide: DecisionFunction
    handle: Handler
    phases: tuple[Phase, ...]
    direct: bool
    parts: tuple[object, ...]
    counts: tuple[list[int], ...] = ()

    @property
    def enforced(self) -> frozenset[str]:
        """The fields of a policy that some part reads."""
        return frozenset(field for part in self.parts for field in getattr(part, "enforces", ()))

    async def __call__(self, session: Session) -> Outcome:
        """Run the whole chain; a chain whose decisions refuse makes no checkpoint."""
        verdict = self.decide(session)
        return await self.handle(session) if verdict is CONTINUE else verdict


def compile_chain(stages: Sequence[object], endpoint: object, *, clock: Clock | None = None) -> Chain:
    """Compile `stages`, in order of execution, and `endpoint` into a chain.

    Args:
        stages: decisions and middlewares; may be empty.
        endpoint: an object with ``async handle(session)``, or an async function of a session.
        clock: gives nanoseconds; with it, every stage is timed, for half a microsecond each at most.

    Raises:
        ConfigurationError: a stage is neither or both, a decision is async, the endpoint is missing, a stage
            needs a field that nothing before it names. The message says which stage and how to mend it.
    """
    if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
        raise ConfigurationError(f"stages must be a list of stages, not {_name(stages)}: write stages=[...]")
    kinds = [_kind(stage, f"stage {number} ({_name(stage)})") for number, stage in enumerate(stages, 1)]
    handle = _endpoint(endpoint)
    check_facts([*stages, endpoint], _name)

    runs = [
        (kind, [stage for _, stage in run]) for kind, run in groupby(zip(kinds, stages, strict=True), key=itemgetter(0))
    ]
    leading: list[Any] = runs.pop(0)[1] if kinds[:1] == ["decision"] else []
    phases = [Phase("leading decisions", tuple(map(_name, leading)))] if leading else []
    for kind, run in runs:
        if kind == "decision":
            phases.append(Phase("decisions", tuple(map(_name, run))))
        else:
            phases.extend(Phase("middleware", (_name(stage),)) for stage in run)
    phases.append(Phase("endpoint", (_name(endpoint),)))

    counts = tuple([0] * BUCKETS for _ in stages) if clock else ()
    number = len(stages)
    for kind, run in reversed(runs):
        number -= len(run)
        if kind == "decision":
            handle = _guard(_fuse(run, clock, counts[number:]), handle)
        else:
            for place, stage in reversed(list(enumerate(run, number))):
                handle = _wrap(stage, handle) if clock is None else _time(stage, handle, clock, counts[place])
    decide = _fuse(leading, clock, counts)
    return Chain(decide, handle, tuple(phases), not runs, (*stages, endpoint), counts)


def _time(stage: Any, call_next: Handler, clock: Clock, counts: list[int]) -> Handler:
    """Put a middleware around `call_next` and time it until it calls that."""

    def timed_next(session: Session) -> Awaitable[Outcome]:
        took = clock() - session.stamp
        counts[took.bit_length()] += 1
        if session.trace is not None:
            session.trace.append(took)
        return call_next(session)

    handle = _wrap(stage, timed_next)

    def handler(session: Session) -> Awaitable[Outcome]:
        session.stamp = clock()
        return handle(session)

    return handler


def _wrap(stage: Any, call_next: Handler) -> Handler:
    """Put a middleware around `call_next`."""
    middleware = stage.handle

    async def handler(session: Session) -> Outcome:
        outcome = await middleware(session, call_next)
        if type(outcome) is not Completed and type(outcome) is not Reject:
            raise TypeError(
                f"middleware {_name(stage)} returned {outcome!r}; it must `return await call_next(session)`, "
                "or Completed or Reject of its own"
            )
        return outcome

    return handler


def _guard(decide: DecisionFunction, call_next: Handler) -> Handler:
    """Put decisions that stand behind a middleware before `call_next`."""

    async def handler(session: Session) -> Outcome:
        verdict = decide(session)
        return await call_next(session) if verdict is CONTINUE else verdict

    return handler


def _fuse(stages: Sequence[Any], clock: Clock | None, counts: Sequence[list[int]]) -> DecisionFunction:
    """Make one function of neighbouring decisions: a plain loop, no coroutine."""
    decides: tuple[DecisionFunction, ...] = tuple(stage.decide for stage in stages)

    def decide(session: Session) -> Verdict:
        for each in decides:
            verdict = each(session)
            if verdict is not CONTINUE:
                return _checked(verdict, stages[decides.index(each)])
        return CONTINUE

    if clock is None:
        return decide
    timed = tuple(zip(decides, counts, strict=False))

    def decide_and_time(session: Session) -> Verdict:
        trace = session.trace
        if trace is None:
            trace = session.trace = []
        before = clock()
        for each, buckets in timed:
            verdict = each(session)
            now = clock()
            took = now - before
            before = now
            buckets[took.bit_length()] += 1
            if verdict is not CONTINUE:
                trace.append(~took)
                return _checked(verdict, stages[decides.index(each)])
            trace.append(took)
        return CONTINUE

    return decide_and_time


def _checked(verdict: Any, stage: object) -> Reject:
    if type(verdict) is Reject:
        return verdict
    raise TypeError(
        f"decision {_name(stage)} returned {verdict!r}; a decision returns CONTINUE or Reject(reason, detail)"
    )


def _name(part: object) -> str:
    """Name a stage or endpoint as its user would."""
    function = getattr(part, "decide", None) or getattr(part, "handle", None)
    if inspect.isfunction(part):
        return part.__name__
    if isinstance(part, type):
        return part.__name__
    if inspect.isfunction(function):  # a lifted function, whose own name says more than its wrapper's
        return function.__name__
    return type(part).__name__


def _kind(stage: object, where: str) -> str:
    """Tell a decision from a middleware, or say what is wrong with `stage`."""
    if isinstance(stage, type):
        raise ConfigurationError(f"{where} is a class, not a stage: call it, {stage.__name__}(...)")
    if inspect.iscoroutine(stage):
        stage.close()
        raise ConfigurationError(f"{where} is a coroutine, already called: pass the function, without ()")
    decide: Any = getattr(stage, "decide", None)
    handle: Any = getattr(stage, "handle", None)
    if decide is None and handle is None:
        mend = "lift a function with @decision or @middleware" if callable(stage) else "give it one of them"
        raise ConfigurationError(f"{where} has neither decide(session) nor handle(session, call_next): {mend}")
    if decide is not None and handle is not None:
        raise ConfigurationError(
            f"{where} has both decide() and handle(): a stage is a decision or a middleware; make it two stages"
        )
    if decide is not None:
        if inspect.iscoroutinefunction(decide):
            raise ConfigurationError(
                f"{where}: decide() is async, and a decision cannot wait: make it a plain def that answers from "
                "memory, or make it a middleware"
            )
        _check_arity(decide, 1, f"{where}: decide() must take the session and nothing else")
        return "decision"
    if _arity_fits(handle, 1) and not _arity_fits(handle, 2):
        raise ConfigurationError(
            f"{where} is an endpoint among the stages: pass it as endpoint=, or let handle() take call_next too"
        )
    _check_async(handle, f"{where}: handle()")
    _check_arity(handle, 2, f"{where}: handle() must take the session and call_next")
    return "middleware"


def _endpoint(endpoint: object) -> Handler:
    """Give the handler at the end of the chain, or say what is wrong with `endpoint`."""
    where = f"endpoint ({_name(endpoint)})"
    if endpoint is None:
        raise ConfigurationError("no endpoint: say where sessions go, for example endpoint=Forward('tcp://…')")
    if inspect.iscoroutine(endpoint):
        endpoint.close()
        raise ConfigurationError(f"{where} is a coroutine, already called: pass the function, without ()")
    if isinstance(endpoint, type):
        raise ConfigurationError(f"{where} is a class, not an endpoint: call it, {endpoint.__name__}(...)")
    handle: Any = endpoint.handle if isinstance(endpoint, Endpoint) else endpoint
    if not callable(handle) or hasattr(endpoint, "decide"):
        raise ConfigurationError(f"{where} cannot end a chain: it needs async handle(session)")
    _check_async(handle, where)
    if _arity_fits(handle, 2) and not _arity_fits(handle, 1):
        raise ConfigurationError(f"{where} is a middleware: move it into stages and name an endpoint behind it")
    _check_arity(handle, 1, f"{where} must take the session and nothing else")
    return handle  # type: ignore[no-any-return]  # just checked, by hand


def _check_async(function: Any, where: str) -> None:
    if (inspect.isfunction(function) or inspect.ismethod(function)) and not inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{where} is not async: write async def")


def _check_arity(function: Callable[..., object], count: int, message: str) -> None:
    if not _arity_fits(function, count):
        raise ConfigurationError(message)


def _arity_fits(function: Any, count: int) -> bool:
    """Tell whether `function` can be called with `count` positional arguments; unknown counts as yes."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # built-ins without a signature
        return True
    return True
