"""Compile stages and an endpoint into one chain, once, when the edge starts.

Adjacent decisions become one loop; those behind a handshake are asked when it has ended. A middleware wraps the stages
behind it, so the order of the list is the order of execution, outermost first. After each stage the chain checks
whether it named a service that is unknown or disabled (:attr:`Session.refusal`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from ..errors import quote
from ..structures.times import TOTAL, add_time, no_times
from .conversation import ChainedHandshake
from .kinds import (
    DECISION,
    HANDSHAKE,
    MIDDLEWARE,
    checked,
    close_parts,
    each_once,
    endpoint_handler,
    live_endpoint,
    live_stage,
    name_of,
)
from .outline import Outline, Phase, outline
from .session import Session
from .stage import DecisionFunction, Handler, Worker
from .surroundings import NoticeLog
from .verdict import CONTINUE, Completed, Outcome, Reject, Verdict

if TYPE_CHECKING:
    from ..services.context import EdgeContext

NanosecondClock: TypeAlias = Callable[[], int]

Drive: TypeAlias = Callable[[Sequence[ChainedHandshake], Session, Handler], Awaitable[Outcome]]
"""An async function that runs handshakes over a session's stream, and then the rest of the chain."""

SLOW_NANOSECONDS: Final = 50_000_000
"""Decisions that take longer than 50 ms together are looked at; each that takes longer by itself is named."""


@attrs.frozen(slots=True)
class Chain:
    """An open chain. Call it with a session to run all of it.

    Attributes:
        decide: the leading decisions as one function, which run before the session has a task.
        handshakes: those before the first middleware, with the decisions between and behind them.
        handle: everything behind the leading decisions, the handshakes included.
        behind: everything behind these handshakes.
        outline: the recipes.
        parts: the live stages and the live endpoint, in order.
        counts: for each stage, how many sessions took it how long, see :mod:`trioedge.structures.times`; empty for a
            chain without a clock.
    """

    decide: DecisionFunction
    handshakes: tuple[ChainedHandshake, ...]
    handle: Handler
    behind: Handler
    outline: Outline
    parts: tuple[object, ...]
    counts: tuple[list[int], ...] = ()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The chain, phase by phase."""
        return self.outline.phases

    @property
    def direct(self) -> bool:
        """True when no middleware is in the chain."""
        return self.outline.direct

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The parts that work in the background, in order; an object that the chain has twice is there once."""
        return tuple(part for part in each_once(self.parts) if isinstance(part, Worker))

    async def __call__(self, session: Session) -> Outcome:
        """Run the whole chain; a chain whose decisions refuse makes no checkpoint."""
        verdict = self.decide(session)
        return await self.handle(session) if verdict is CONTINUE else verdict


def compile_chain(stages: Sequence[object], endpoint: object, *, clock: NanosecondClock | None = None) -> Chain:
    """Compile stages that need no running edge into a chain, to test their order.

    Args:
        stages: as in :class:`Edge`.
        endpoint: as in :class:`Edge`.
        clock: gives nanoseconds. With it, every stage is timed, which costs half a microsecond a stage at most.

    Raises:
        ConfigurationError: as :class:`Edge` raises it, and for a recipe, which only a running edge opens.
    """
    return open_chain(outline(stages, endpoint), None, clock=clock)


async def _undriven(_: Sequence[ChainedHandshake], session: Session, __: Handler) -> Outcome:
    raise RuntimeError(
        f"{session} meets a handshake, which only a running edge drives: test it with trioedge.testing.open_edge, or "
        "alone with trioedge.testing.converse"
    )


def open_chain(
    outline: Outline, context: "EdgeContext | None", *, clock: NanosecondClock | None = None, drive: Drive = _undriven
) -> Chain:
    """Open every recipe and compile the live stages. If one cannot be opened, those before it are closed.

    Args:
        outline: the recipes, checked.
        context: the running edge.
        clock: as in :func:`compile_chain`.
        drive: runs handshakes in the task of a session.

    Raises:
        ConfigurationError: a recipe opened another kind of stage than it says.
    """
    *recipes, endpoint = outline.parts
    stages: list[Any] = []
    try:
        for number, (recipe, kind) in enumerate(zip(recipes, outline.kinds, strict=True), 1):
            stages.append(live_stage(recipe, context, kind, f"stage {number} ({name_of(recipe)})"))
        endpoint = live_endpoint(endpoint, context)
    except BaseException:
        if context is not None:
            close_parts(stages, context.log)
        raise
    counts = tuple(no_times() for _ in stages) if clock else ()
    log = None if context is None else context.log
    kinds, handle, end = outline.kinds, _begin(endpoint_handler(endpoint)), len(stages)

    def decisions(start: int, end: int) -> DecisionFunction:
        return _fuse(stages[start:end], clock, counts[start:end], start, log)

    while True:  # from the end: the stages behind the last middleware, that middleware, and so on
        start = max((at + 1 for at in range(end) if kinds[at] == MIDDLEWARE), default=0)
        places = [at for at in range(start, end) if kinds[at] == HANDSHAKE]
        handshakes = tuple(
            ChainedHandshake(
                outline.names[at],
                stages[at],
                outline.facts[at].seconds,
                outline.facts[at].max_bytes,
                decisions(at + 1, stop),
                HANDSHAKE not in kinds[at + 1 :],
                clock,
                counts[at] if counts else None,
                "source" in outline.facts[at].provides,
            )
            for at, stop in zip(places, [*places[1:], end], strict=False)
        )
        leading, behind = decisions(start, places[0] if places else end), handle
        if handshakes:
            handle = _converse(handshakes, drive, handle)
        if not start:
            return Chain(leading, handshakes, handle, behind, outline, (*stages, endpoint), counts)
        if start < end and kinds[start] == DECISION:
            handle = _guard(leading, handle)
        end = start - 1
        handle = _wrap(stages[end], handle) if clock is None else _time(stages[end], handle, clock, counts[end])


def _converse(handshakes: Sequence[ChainedHandshake], drive: Drive, call_next: Handler) -> Handler:
    """Put handshakes before `call_next`, for sessions with a task."""

    def handler(session: Session) -> Awaitable[Outcome]:
        return drive(handshakes, session, call_next)

    return handler


def _begin(handle: Handler) -> Handler:
    """Make a session's service final when its endpoint begins, and refuse to begin twice."""

    def handler(session: Session) -> Awaitable[Outcome]:
        if session.began:
            raise RuntimeError("a middleware awaited call_next twice: the session's bytes go to one endpoint, once")
        session.began = True
        return handle(session)

    return handler


def _time(stage: Any, call_next: Handler, clock: NanosecondClock, counts: list[int]) -> Handler:
    """Put a middleware around `call_next`, timed until it calls `call_next`."""

    def timed_next(session: Session) -> Awaitable[Outcome]:
        took = clock() - session.stamp
        add_time(counts, took)
        if session.trace is not None:
            session.trace.append(took)
        return call_next(session)

    handle = _wrap(stage, timed_next)

    def handler(session: Session) -> Awaitable[Outcome]:
        session.enter_middleware(clock())
        return handle(session)

    return handler


def _wrap(stage: Any, call_next: Handler) -> Handler:
    """Put a middleware around `call_next`."""
    middleware = stage.handle

    def go_on(session: Session) -> Awaitable[Outcome]:
        return call_next(session) if session.refusal is None else _give(session.refusal)

    async def handler(session: Session) -> Outcome:
        outcome = await middleware(session, go_on)
        if type(outcome) is not Completed and type(outcome) is not Reject:
            raise _no_outcome(stage, outcome)
        return outcome

    return handler


def _no_outcome(stage: object, answer: object) -> TypeError:
    return TypeError(
        f"middleware {name_of(stage)} returned {quote(answer)}; it must `return await call_next(session)`, "
        "or Completed or Reject of its own"
    )


async def _give(refusal: Reject) -> Outcome:
    return refusal


def _guard(decide: DecisionFunction, call_next: Handler) -> Handler:
    """Put decisions before `call_next`."""

    async def handler(session: Session) -> Outcome:
        verdict = decide(session)
        return await call_next(session) if verdict is CONTINUE else verdict

    return handler


def _fuse(
    stages: Sequence[Any], clock: NanosecondClock | None, counts: Sequence[list[int]], first: int, log: NoticeLog | None
) -> DecisionFunction:
    """Make one function of adjacent decisions, a plain loop; `first` is the place of the first one in the chain."""
    decides: tuple[DecisionFunction, ...] = tuple(stage.decide for stage in stages)

    def decide(session: Session) -> Verdict:
        for each in decides:
            verdict = each(session)
            if verdict is not CONTINUE:
                return checked(verdict, stages[decides.index(each)])
            if session.refusal is not None:
                return session.refusal
        return CONTINUE

    if clock is None:
        return decide
    timed = tuple(zip(decides, counts, strict=False))

    def decide_and_time(session: Session) -> Verdict:
        trace = session.trace
        if trace is None:
            trace = session.begin_trace()
        began = before = clock()
        for each, buckets in timed:
            verdict = each(session)
            now = clock()
            took = now - before
            before = now
            buckets[took.bit_length()] += 1
            buckets[TOTAL] += took
            if verdict is CONTINUE and session.refusal is None:
                trace.append(took)
                continue
            trace.append(~took)
            if now - began > SLOW_NANOSECONDS:
                warn_of_slow(stages, trace[first:], log)
            return checked(session.refusal if verdict is CONTINUE else verdict, stages[decides.index(each)])
        if before - began > SLOW_NANOSECONDS:
            warn_of_slow(stages, trace[first:], log)
        return CONTINUE

    return decide_and_time


def warn_of_slow(stages: Sequence[object], times: Sequence[int], log: NoticeLog | None) -> None:
    """Log each stage that took longer than 50 ms.

    Args:
        stages: adjacent decisions.
        times: their nanoseconds, as in :attr:`Session.trace`, as far as they were asked.
        log: of the edge; None where there is none.
    """
    if log is None:
        return
    for stage, took in zip(stages, times, strict=False):
        took = took if took >= 0 else ~took
        if took > SLOW_NANOSECONDS:
            log.notice("a stage is slow, and every client waits for it", stage=name_of(stage), ms=round(took / 1e6))
