"""The effect of changes on services and their live sessions, one service at a time.

Two snapshots may be applied at the same time: one in its turn, and a later one that takes something away. The change of
a service is begun, watched and ended as one; a second change of the same service first ends the first one:

| the service | event | action |
| --- | --- | --- |
| at rest | a change comes | leave of it what the later snapshots leave; apply it; notify the watchers; cut sessions |
| changing | another change comes | go on with the first change to its end, then as at rest |
| changing | its steps end | at rest |
"""

from collections.abc import Collection, Generator, Sequence
from typing import Final

import attrs

from ...addresses.rules import SourceRules
from ...errors import quote, quote_fault
from ...loop.collector import collect_young
from ...loop.slices import Stepwise
from ...session.session import Session
from ...session.stage import DecisionFunction
from ...session.verdict import CONTINUE, Reason, Reject
from ...telemetry.log import STOPS, EdgeLog
from ..changes import changed_fields
from ..examine import Found
from ..policy import FATES, Fate, Settings
from ..registry import Registry
from ..service import Service
from ..services import Services
from ..snapshot import Change, Plan
from .turn import SnapshotTurns, Turn

YOUNG: Final = 500
"""Services between two passes over the youngest objects."""

_EVICTED: Final = Reject(Reason.EVICTED)
_RETUNED: Final = frozenset(name for name, fate in FATES.items() if fate is Fate.RETUNE)
_DEVICE_FIELDS: Final = frozenset({"device_limit", "device_handover"})


@attrs.frozen(slots=True)
class Recheck:
    """A decision that is asked again about live sessions when a policy changes.

    Attributes:
        fields: names of fields of a policy; when one changes, the decision is asked.
        decide: the live stage's decision; a Reject cuts the session. It must not count, spend or write anything.
        stage: the index of the stage in the chain. It judges a session that has not passed it when that arrives.
    """

    fields: frozenset[str]
    decide: DecisionFunction
    stage: int

    def concerns(self, session: Session) -> bool:
        """Return whether a session has passed the stage; an untimed one counts as having passed every stage."""
        return session.trace is None or len(session.trace) > self.stage


@attrs.define(slots=True)
class Tally:
    """The effect of one snapshot so far; see :class:`Plan`."""

    added: list[str] = attrs.field(factory=list)
    changed: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    removed: list[str] = attrs.field(factory=list)
    retuned: int = 0
    rechecked: int = 0
    evicted: int = 0

    def note(self, change: Change) -> None:
        """Add the change of a service, which may be its second one: a part of it was made before the turn."""
        if change.before is None:
            self.added.append(change.name)
        elif change.after is None:
            self.removed.append(change.name)
        elif (fields := self.changed.get(change.name)) is None:
            self.changed[change.name] = change.fields
        else:  # `enabled` is the first field, and `password_hash` the last
            first = [name for name in fields if name != "password_hash"]
            last = [name for name in fields if name == "password_hash"]
            self.changed[change.name] = tuple(dict.fromkeys([*first, *_without(change.fields, last), *last]))

    def __bool__(self) -> bool:
        """Whether there is an effect."""
        return bool(self.added or self.changed or self.removed)

    def plan(self) -> Plan:
        """Return the effect; nothing may be added afterwards."""
        return Plan(
            added=tuple(self.added),
            changed=self.changed,
            removed=tuple(self.removed),
            retuned=self.retuned,
            rechecked=self.rechecked,
            evicted=self.evicted,
        )


def _without(names: Sequence[str], others: Collection[str]) -> list[str]:
    return [name for name in names if name not in others]


class Effects:
    """Makes the changes of snapshots, and foresees their effect.

    Attributes:
        rechecks: the decisions of the chain that are asked again when a policy changes.
        unsettled: whether changes were made of which :meth:`settle` has not notified the watchers.
    """

    # `_begun` has the steps of each change that has begun and not ended, by the name of its service.
    __slots__ = ("_begun", "_enforced", "_live", "_log", "_services", "_turns", "rechecks", "unsettled")

    def __init__(
        self, services: Services, live: Registry, log: EdgeLog, turns: SnapshotTurns, enforced: frozenset[str]
    ) -> None:
        """Start without changes.

        Args:
            services: the services to change.
            live: the live sessions.
            log: the log.
            turns: the snapshots that were received.
            enforced: the policy fields that some stage of the chain reads.
        """
        self._services = services
        self._live = live
        self._log = log
        self._turns = turns
        self._enforced = enforced
        self._begun: dict[str, Stepwise[None]] = {}
        self.unsettled = False
        self.rechecks: tuple[Recheck, ...] = ()

    def take_away(self, turn: Turn, tally: Tally) -> Stepwise[None]:
        """Apply what a snapshot takes away, in short steps, before its turn."""
        for name in turn.closes(self._services):
            yield from self._taken(name, turn, tally)
        yield from turn.judge(self._services, self._turns.ahead(turn))
        for name in turn.gone(self._services):
            yield from self._taken(name, turn, tally)

    def _taken(self, name: str | None, turn: Turn, tally: Tally) -> Stepwise[None]:
        if name is None:
            yield
        else:
            yield from self._alone(name, self._take(name, turn, tally))

    def grant(self, found: Found, turn: Turn, tally: Tally) -> Stepwise[None]:
        """Make the changes that were found in a snapshot, in short steps, in its turn; `found` is empty then."""
        while found:
            if len(found) % YOUNG == 0:
                collect_young()
                yield
            change, rules = found.popleft()
            yield from self._alone(change.name, self._grant(change, rules, turn, tally))

    def make(
        self, change: Change, rules: SourceRules | None, tally: Tally, *, dry_run: bool = False,
        surplus: Sequence[str] = (),
    ) -> Stepwise[None]:  # fmt: skip
        """Make one change that is urgent and was examined, in short steps.

        Args:
            change: of a service.
            rules: the source rules of its new policy, compiled.
            tally: counts the effect.
            dry_run: only count.
            surplus: devices that another process takes offline for the change; for a count.
        """
        steps = self._made(change, rules, tally, dry_run, surplus)
        yield from steps if dry_run else self._alone(change.name, steps)

    def _made(
        self, change: Change, rules: SourceRules | None, tally: Tally, dry_run: bool, surplus: Sequence[str]
    ) -> Stepwise[None]:
        foreseen = yield from self._foreseen(change)
        for device in surplus:
            for sessions in self._live.search(service=change.name, device=device):
                foreseen.update(session for session in sessions if session.cut_reason is None)
            yield
        yield from self._effect(change, rules, foreseen, tally, dry_run=dry_run)

    def foresee(self, found: Found, tally: Tally) -> Stepwise[None]:
        """Count the effect of the changes, which are not made, in short steps; `found` is empty then."""
        while found:
            yield from self.make(*found.popleft(), tally, dry_run=True)

    def settle(self) -> Stepwise[None]:
        """Notify the watchers that all changes are made, in short steps."""
        self.unsettled = False
        yield from self._services.watchers.settle()

    def _alone(self, name: str, steps: Stepwise[None]) -> Stepwise[None]:
        """Run the change of a service; one that is under way already is ended first."""
        while (begun := self._begun.get(name)) is not None:
            for _ in begun:
                yield
        self.unsettled = True
        self._begun[name] = steps = self._ending(name, steps)
        for _ in steps:  # another change of this service may run some of the steps, and the last one
            yield

    def _ending(self, name: str, steps: Stepwise[None]) -> Stepwise[None]:
        try:
            yield from steps
        finally:
            del self._begun[name]

    def _take(self, name: str, turn: Turn, tally: Tally) -> Stepwise[None]:
        service = self._services.get(name)
        before = None if service is None else service.settings
        change = yield from self._difference(name, before, before, (turn,))
        if change is not None and service is not None:
            foreseen = yield from self._foreseen(change)
            yield from self._effect(change, service.rules, foreseen, tally)

    def _grant(self, change: Change, rules: SourceRules | None, turn: Turn, tally: Tally) -> Stepwise[None]:
        service = self._services.get(change.name)
        before = None if service is None else service.settings
        less: Change | None = change
        while True:
            behind = self._turns.behind(turn)
            if behind or before is not change.before:
                less = yield from self._difference(change.name, before, change.after, behind)
            if less is None or (less.after is None and change.after is not None):
                return  # a later snapshot removes it
            foreseen = yield from self._foreseen(less)
            if len(self._turns.behind(turn)) == len(behind):
                break  # else a later snapshot came between two steps, and may have found nothing to take away yet
        yield from self._effect(less, rules, foreseen, tally)

    def _difference(
        self, name: str, before: Settings | None, after: Settings | None, turns: Sequence[Turn]
    ) -> Generator[None, None, Change | None]:
        """Give the change of a service to what some snapshots leave of its new settings; None for no change."""
        for turn in turns:
            if after is not None:
                after = turn.leaves(name, after)
        if before is None or after is None:
            return None if before is after else Change(name, before, after)
        fields = yield from changed_fields(before, after)
        return Change(name, before, after, fields) if fields else None

    def _foreseen(self, change: Change) -> Generator[None, None, set[Session]]:
        """Give the live sessions that watchers will cut for a change."""
        foreseen: set[Session] = set()
        if change.after is not None and _DEVICE_FIELDS.isdisjoint(self._enforced.intersection(change.fields)):
            return foreseen
        service = self._services.get(change.name)
        if service is not None:
            for session in self._services.watchers.foresee(service, change.after):
                if session is not None and session.cut_reason is None:
                    foreseen.add(session)
                yield
        return foreseen

    def _effect(
        self, change: Change, rules: SourceRules | None, foreseen: set[Session], tally: Tally, *, dry_run: bool = False
    ) -> Stepwise[None]:
        """Make one change in the first step, and cut sessions by their fates; with `dry_run`, only count."""
        again = change.name in tally.changed
        tally.note(change)
        service = self._services.get(change.name)
        evicts = change.after is None or Fate.EVICT in change.fates
        cut, staying = len(foreseen), 0
        if service is not None and not (evicts or again):  # else none stays
            staying = service.live - sum(each.service is service for each in foreseen)  # some may have moved away
        if not dry_run:
            yield from self._services.watchers.notify(self._services.apply(change, rules), change)
        yield
        if service is None:
            return
        for session, refusal in self._sessions_to_cut(service, change, rules, evicts=evicts):
            if refusal is not None and session.cut_reason is None and session not in foreseen:
                gone = dry_run or self._live.evictions.cut((session,), refusal.reason, refusal.detail, at_once=0)
                cut += gone
                staying -= gone
            yield
        tally.evicted += cut
        if staying > 0:
            enforced = self._enforced.intersection(change.fields)
            tally.retuned += staying if not _RETUNED.isdisjoint(enforced) else 0
            tally.rechecked += staying if not _DEVICE_FIELDS.isdisjoint(enforced) else 0

    def _sessions_to_cut(
        self, service: Service, change: Change, rules: SourceRules | None, *, evicts: bool
    ) -> Generator[tuple[Session, Reject | None], None, None]:
        """Give the live sessions that a change may cut, each with the refusal to cut it with, or None to keep it."""
        if evicts or change.after is None:
            for session in self._live.each(service):
                yield session, _EVICTED
        elif over := self._services.terms.judgement(service, change.after):  # time passes, so whatever has changed
            for session in self._live.each(service):
                yield session, over
        elif rechecks := [each for each in self.rechecks if not each.fields.isdisjoint(change.fields)]:
            for session in self._live.each(service):
                yield session, self._recheck(session, change.after, rules, rechecks)

    def _recheck(
        self, session: Session, after: Settings, rules: SourceRules | None, rechecks: Sequence[Recheck]
    ) -> Reject | None:
        """Judge a live session under other settings; a decision that raises costs this session, and no other."""
        with session.service.under(after, rules):  # they are applied already, unless this is a plan
            for recheck in rechecks:
                if not recheck.concerns(session):
                    continue
                try:
                    verdict = recheck.decide(session)
                    if verdict is not CONTINUE and type(verdict) is not Reject:
                        raise TypeError(f"the decision returned {quote(verdict)}; it must return CONTINUE or Reject")
                except STOPS:
                    raise
                except BaseException as fault:
                    self._log.fault("recheck failed", fault, session=session.id, service=session.service.name)
                    return Reject(Reason.FAULT, quote_fault(fault))
                if verdict is not CONTINUE:
                    return verdict
        return None
