"""The stages for one of several protocols: decisions and handshakes in their order, as one conversation.

| a stage is | event | action |
| --- | --- | --- |
| a decision | its turn | asked; a refusal ends the branch |
| a handshake | its turn | its commands go to the driver; a refusal ends the branch |
| a handshake | it proceeds | the decisions behind it are asked first; a refusal or a fault of theirs is its answer |
| the last one | CONTINUE | the chain goes on |
"""

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...errors import ENDS, ConfigurationError, quote_fault
from ...session.handshake import PROCEED, Command, Send, Steps
from ...session.kinds import DECISION, HANDSHAKE, MIDDLEWARE, checked, facts_of, kind_of, live_stage, name_of
from ...session.outline import check_facts, check_handshakes
from ...session.session import Session
from ...session.stage import Decision, Facts
from ...session.surroundings import FaultLog
from ...session.verdict import CONTINUE, Reason, Reject, Verdict
from .route import Route, provided_by, read_route

if TYPE_CHECKING:
    from ...services.context import EdgeContext

_BEHIND: Final = Facts(relays=True, follows_destination=True)
"""Any endpoint: the chain checks what these stages need of its own."""


@attrs.frozen
class Branch:
    """The stages for one protocol, checked.

    Attributes:
        stages: the recipes; none of a branch that is a text.
        kinds: of each.
        facts: of each.
        route: where a branch that is a text leads; else None.
        where: names the branch in messages, as in ``Detect['socks']``.
    """

    stages: tuple[object, ...]
    kinds: tuple[str, ...]
    facts: tuple[Facts, ...]
    route: Route | None
    where: str

    @property
    def provides(self) -> tuple[str, ...]:
        """The session fields that it writes."""
        routed = () if self.route is None else provided_by([self.route])
        return (*routed, *(fact for facts in self.facts for fact in facts.provides))

    @property
    def requires(self) -> set[str]:
        """The session fields that it reads and does not write before."""
        known, required = set[str](), set[str]()
        for facts in self.facts:
            required |= set(facts.requires) - known
            known |= set(facts.provides)
        return required

    @property
    def once(self) -> set[str]:
        """The names of its handshakes that a chain may have only once."""
        own = {
            name_of(stage) for stage, kind, facts in zip(self.stages, self.kinds, self.facts, strict=True)
            if kind == HANDSHAKE and facts.once
        }  # fmt: skip
        return own.union(*(facts.inner_once for facts in self.facts))

    def open(self, context: "EdgeContext", opened: list[object]) -> "LiveBranch":
        """Make its live stages, and add each to `opened` at once, because a later one may fail."""
        live = []
        for number, (kind, stage) in enumerate(zip(self.kinds, self.stages, strict=True), 1):
            live.append((kind, live_stage(stage, context, kind, f"{self.where}: stage {number} ({name_of(stage)})")))
            opened.append(live[-1][1])
        return LiveBranch(live, self.route, context.log)


def read_branch(written: object, where: str) -> Branch:
    """Read a branch.

    Args:
        written: a decision or a handshake, a list of them, or the text of a route.
        where: names its place in messages.

    Raises:
        ConfigurationError: names the stage, its fault and how to mend it.
    """
    if isinstance(written, str):
        return Branch((), (), (), read_route(written, where), where)
    stages: Sequence[Any] = written if isinstance(written, (list, tuple)) else [written]
    places = [f"{where}: stage {number} ({name_of(stage)})" for number, stage in enumerate(stages, 1)]
    kinds = [kind_of(stage, place) for stage, place in zip(stages, places, strict=True)]
    facts = [facts_of(stage, place) for stage, place in zip(stages, places, strict=True)]
    for kind, each, place in zip(kinds, facts, places, strict=True):
        if kind == MIDDLEWARE:
            raise ConfigurationError(f"{place} is a middleware: move it behind {where.partition('[')[0]}")
        if each.policy is not None or each.rechecks:
            raise ConfigurationError(
                f"{place} is asked again about live sessions of every kind when a policy changes: move it behind "
                f"{where.partition('[')[0]}"
            )
    names = [name_of(stage) for stage in stages]
    written_here = {fact for each in facts for fact in each.provides}
    before = Facts(provides=tuple({fact for each in facts for fact in each.requires} - written_here))
    check_facts([before, *facts, _BEHIND], ["", *names, ""], ["", *places, ""])
    check_handshakes(kinds, facts, places)
    return Branch(tuple(stages), tuple(kinds), tuple(facts), None, where)


class LiveBranch:
    """A branch of one run of an edge."""

    __slots__ = ("_log", "_route", "_stages")

    def __init__(self, stages: Sequence[tuple[str, Any]], route: Route | None, log: FaultLog) -> None:
        self._stages = tuple(stages)  # the kind of each, and it
        self._route = route
        self._log = log  # of exceptions that decisions raise

    def converse(self, session: Session) -> Steps:
        """Have each stage decide or converse, in order."""
        if self._route is not None:
            self._route.take(session)
            return session.refusal or CONTINUE
        for number, (kind, stage) in enumerate(self._stages, 1):
            if kind == DECISION:
                verdict = _decided(stage, session)
            else:
                verdict, is_last = yield from self._conversed(stage.converse(session), session, number)
                if is_last:
                    return verdict
            if verdict is not CONTINUE:
                return verdict
        return CONTINUE

    def _conversed(self, steps: Steps, session: Session, number: int) -> Generator[Command, Any, tuple[Verdict, bool]]:
        """Pass on the commands of a handshake; once it proceeds, ask the decisions from `number` on first.

        Returns:
            The verdict, and whether nothing of the branch is left to be asked.
        """
        step: Callable[[Any], Command] = steps.send
        answer: Any = None
        refusal: Reject | None = None
        proceeded = False
        while True:
            try:
                command = step(answer)
            except StopIteration as ended:
                verdict: Verdict = refusal or ended.value
                return verdict if verdict is not CONTINUE else session.refusal or CONTINUE, proceeded
            step = steps.send
            if command is PROCEED and not proceeded:
                proceeded = True
                refusal = self._refusal(session, number)
                if refusal is not None:
                    answer = refusal
                    continue
            elif refusal is not None and type(command) is not Send:
                steps.close()
                raise TypeError(f"a handshake yielded {command!r} behind PROCEED, where it can only Send")
            try:
                answer = yield command
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as fault:
                step, answer = steps.throw, fault

    def _refusal(self, session: Session, number: int) -> Reject | None:
        """Ask the decisions from `number` on, behind a handshake that proceeds; None if all go on.

        One that raises refuses, as in a chain, so that the client hears of it.
        """
        if session.refusal is not None:
            return session.refusal
        for _, stage in self._stages[number:]:
            try:
                verdict = _decided(stage, session)
            except ENDS:
                raise
            except BaseException as fault:
                self._log.fault("decision failed", fault, session=session.id, source=session.source)
                return Reject(Reason.FAULT, quote_fault(fault))
            if verdict is not CONTINUE:
                return verdict
        return None


def _decided(stage: Decision, session: Session) -> Verdict:
    verdict = stage.decide(session)
    return checked(verdict, stage) if verdict is not CONTINUE else session.refusal or CONTINUE
