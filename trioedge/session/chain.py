"""Compile stages and an endpoint into one chain, once, when the edge starts.

Adjacent decisions become one loop. A middleware wraps the stages behind it, so the order of the list is the order of
execution, outermost first. After each stage the chain checks whether it named a service that is unknown or disabled
(:attr:`Session.refusal`).
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from ..errors import ConfigurationError, quote
from .kinds import (
    DECISION,
    check_endpoint,
    checked,
    close_parts,
    each_once,
    endpoint_handler,
    facts_of,
    kind_of,
    live_endpoint,
    live_stage,
    name_of,
)
from .requirements import check_facts
from .session import Session
from .slow import SLOW_NANOSECONDS, warn_of_slow
from .stage import DecisionFunction, Facts, Handler, Recipe, Worker
from .surroundings import NoticeLog
from .verdict import CONTINUE, Completed, Outcome, Reject, Verdict

if TYPE_CHECKING:
    from ..services.context import EdgeContext

NanosecondClock: TypeAlias = Callable[[], int]

BUCKETS: Final = 64
"""Buckets of times, one for each power of two: 2 ** 63 nanoseconds are 292 years."""


@attrs.frozen(slots=True)
class Phase:
    """Stages that run together.

    Attributes:
        kind: ``leading decisions``, ``decisions``, ``middleware`` or ``endpoint``.
        stages: their names, in order of execution.
    """

    kind: str
    stages: tuple[str, ...]


@attrs.frozen(slots=True)
class Outline:
    """The checked description of a chain; :func:`open_chain` makes a :class:`Chain` of it.

    Attributes:
        parts: the recipes, the stages in order and then the endpoint.
        kinds: the kind of each stage.
        facts: the facts of each part, the endpoint's last.
        phases: the chain, phase by phase.
    """

    parts: tuple[object, ...]
    kinds: tuple[str, ...]
    facts: tuple[Facts, ...]
    phases: tuple[Phase, ...]

    @property
    def names(self) -> list[str]:
        """The names of the parts, in order."""
        return [name for phase in self.phases for name in phase.stages]

    @property
    def direct(self) -> bool:
        """True when only the endpoint is behind the leading decisions."""
        return all(kind == DECISION for kind in self.kinds)

    @property
    def enforced(self) -> frozenset[str]:
        """The fields of a policy that some part reads."""
        return frozenset(field for facts in self.facts for field in facts.enforces)

    @property
    def needs_outbound(self) -> bool:
        """Whether sessions are refused if their policy names no outbound: neither endpoint nor stage has another."""
        endpoint = self.facts[-1]
        return endpoint.needs_control and "outbound" in endpoint.enforces and "destination" not in self.provided

    @property
    def policies(self) -> tuple[type[Any], ...]:
        """The classes of policy keys that stages name."""
        return tuple(facts.policy for facts in self.facts if facts.policy is not None)

    @property
    def provided(self) -> frozenset[str]:
        """The session fields that some stage writes."""
        return frozenset(fact for facts in self.facts for fact in facts.provides)


@attrs.frozen(slots=True)
class Chain:
    """An open chain. Call it with a session to run all of it.

    Attributes:
        decide: the leading decisions as one function, which run before the session has a task.
        handle: everything behind them.
        outline: the recipes.
        parts: the live stages and the live endpoint, in order.
        counts: for each stage, how many sessions took it how long, in buckets of powers of two nanoseconds; empty
            for a chain without a clock. See :mod:`trioedge.telemetry.trace`.
    """

    decide: DecisionFunction
    handle: Handler
    outline: Outline
    parts: tuple[object, ...]
    counts: tuple[list[int], ...] = ()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The chain, phase by phase."""
        return self.outline.phases

    @property
    def direct(self) -> bool:
        """True when only the endpoint is behind the leading decisions."""
        return self.outline.direct

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The parts that work in the background, in order; an object that the chain has twice is there once."""
        return tuple(part for part in each_once(self.parts) if isinstance(part, Worker))

    async def __call__(self, session: Session) -> Outcome:
        """Run the whole chain; a chain whose decisions refuse makes no checkpoint."""
        verdict = self.decide(session)
        return await self.handle(session) if verdict is CONTINUE else verdict


def outline(stages: Sequence[object], endpoint: object) -> Outline:
    """Check `stages`, in order of execution, and `endpoint`; nothing is opened.

    Args:
        stages: decisions, middlewares and recipes of them; may be empty.
        endpoint: an object with ``async handle(session)``, an async function of a session, or a recipe of one.

    Raises:
        ConfigurationError: a stage is neither decision nor middleware, or both; a decision is async; the endpoint is
            missing; a stage reads a field that no stage before it writes; and more. The message names stage and mend.
    """
    if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
        raise ConfigurationError(f"stages must be a list of stages, not {name_of(stages)}: write stages=[...]")
    places = [f"stage {number} ({name_of(stage)})" for number, stage in enumerate(stages, 1)]
    kinds = tuple(kind_of(stage, where) for stage, where in zip(stages, places, strict=True))
    for where, stage in zip(places, stages, strict=True):
        first = next(number for number, other in enumerate(stages) if other is stage)
        if isinstance(stage, Recipe) and where != places[first]:
            raise ConfigurationError(
                f"{where} is the same object as {places[first]}: remove one, or make another {name_of(stage)}"
            )
    check_endpoint(endpoint)
    parts = (*stages, endpoint)
    places.append(f"endpoint ({name_of(endpoint)})")
    facts = tuple(facts_of(part, where) for part, where in zip(parts, places, strict=True))
    check_facts(facts, [name_of(part) for part in parts], places)
    phases: list[Phase] = []
    for kind, run in groupby(zip(kinds, stages, strict=True), key=itemgetter(0)):
        names = tuple(name_of(stage) for _, stage in run)
        if kind == DECISION:
            phases.append(Phase("decisions" if phases else "leading decisions", names))
        else:
            phases.extend(Phase(kind, (name,)) for name in names)
    phases.append(Phase("endpoint", (name_of(endpoint),)))
    return Outline(parts, kinds, facts, tuple(phases))


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


def open_chain(outline: Outline, context: "EdgeContext | None", *, clock: NanosecondClock | None = None) -> Chain:
    """Open every recipe and compile the live stages. If one cannot be opened, those before it are closed.

    Args:
        outline: the recipes, checked.
        context: the running edge.
        clock: as in :func:`compile_chain`.

    Raises:
        ConfigurationError: a recipe opened another kind of stage than it says.
    """
    *recipes, endpoint = outline.parts
    stages: list[object] = []
    try:
        for number, (recipe, kind) in enumerate(zip(recipes, outline.kinds, strict=True), 1):
            stages.append(live_stage(recipe, context, kind, f"stage {number} ({name_of(recipe)})"))
        endpoint = live_endpoint(endpoint, context)
    except BaseException:
        if context is not None:
            close_parts(stages, context.log)
        raise
    runs = [
        (kind, [stage for _, stage in run])
        for kind, run in groupby(zip(outline.kinds, stages, strict=True), key=itemgetter(0))
    ]
    leading: list[Any] = runs.pop(0)[1] if outline.kinds[:1] == (DECISION,) else []
    counts = tuple([0] * BUCKETS for _ in stages) if clock else ()
    log = None if context is None else context.log
    handle = _begin(endpoint_handler(endpoint))
    number = len(stages)
    for kind, run in reversed(runs):
        number -= len(run)
        if kind == DECISION:
            handle = _guard(_fuse(run, clock, counts[number:], number, log), handle)
        else:
            for place, stage in reversed(list(enumerate(run, number))):
                handle = _wrap(stage, handle) if clock is None else _time(stage, handle, clock, counts[place])
    return Chain(_fuse(leading, clock, counts, 0, log), handle, outline, (*stages, endpoint), counts)


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
        counts[took.bit_length()] += 1
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
