"""Applies snapshots: examines one whole, then applies it service by service without blocking the event loop.

The work is generators that yield often. They run in short slices, so the loop is free again within a millisecond
however large a snapshot is.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Final

import attrs
import trio

from ..addresses.rules import SourceRules
from ..errors import quote
from ..loop.collector import MANY, no_full_pass, settle
from ..loop.slices import REST, Stepwise, in_slices
from ..session.session import Session
from ..session.stage import DecisionFunction
from ..session.verdict import CONTINUE, Reason, Reject
from ..telemetry.observer import STOPS, Observer
from .control_plane import SnapshotError
from .examine import Examiner, Found, PolicyWarnings
from .policy import FATES, Fate, Settings
from .registry import Registry
from .service import Service
from .services import Services
from .snapshot import Change, Plan, Snapshot
from .stage_keys import NO_KEYS, StageKeys

APPLY_REST: Final = 4
"""How many times longer the applying of changes rests than it works. Not more, because no cancel ends it."""

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


class SnapshotApplier:
    """The :class:`Link` of one run of an edge.

    Attributes:
        stage_keys: the keys of users' stages that the chain reads; others are faults.
        rechecks: the decisions of the chain that are asked again when a policy changes.
        needs_outbound: whether sessions are refused if their policy names no outbound, which earns a warning.
        on_applied: called after each snapshot that was applied.
        version: of the last snapshot; empty before the first.
        applied_at: when it was applied, in seconds of trio's clock; None before the first.
        error: the reason why there is no news of the control plane; empty when all is well.
        failing_since: the time of the first of these errors; None when all is well.
    """

    def __init__(
        self,
        services: Services,
        live: Registry,
        observer: Observer,
        *,
        enforced: Collection[str],
        stage_keys: StageKeys = NO_KEYS,
    ) -> None:
        """Start without a snapshot.

        Args:
            services: the services to change.
            live: the live sessions.
            observer: the log.
            enforced: the policy fields that some stage of the chain reads; others earn a warning.
            stage_keys: the keys of users' stages that the chain reads.
        """
        self.stage_keys = stage_keys
        self._services = services
        self._live = live
        self._observer = observer
        self._enforced = frozenset(enforced)
        self._examiner = Examiner(services, stage_keys)
        self._one_at_a_time = trio.Lock()
        self._rest = 0.0
        self._new = 0  # services added or changed since the last gc.freeze()
        self.rechecks: tuple[Recheck, ...] = ()
        self.needs_outbound = False
        self.on_applied: list[Callable[[], object]] = []
        self.version = ""
        self.applied_at: float | None = None
        self.error = ""
        self.failing_since: float | None = None

    def serving(self) -> None:
        """Rest between slices from now on, because there are sessions."""
        self._rest = REST

    async def apply(self, snapshot: Snapshot) -> Plan:
        """Apply a snapshot, all of it or nothing; see :meth:`Link.apply`."""
        async with self._one_at_a_time:
            warnings = PolicyWarnings(self._enforced, needs_outbound=self.needs_outbound)
            with no_full_pass():
                found = await self._examine(snapshot, warnings)
                with trio.CancelScope(shield=True):  # half of it would leave sessions that the next one does not find
                    plan = await in_slices(self._converge(found, dry_run=False), rest=min(self._rest, APPLY_REST))
                    self._new += len(plan.added) + len(plan.changed)
                    if self._new > MANY:
                        self._new = 0
                        await trio.lowlevel.checkpoint()  # `settle` takes as long as some slices
                        settle()
                        await trio.lowlevel.checkpoint()
            self.version, self.applied_at = snapshot.version, trio.current_time()
            self.reached()
            for hook in self.on_applied:
                hook()
        self._warn(warnings)
        if plan:
            version = {"version": snapshot.version} if snapshot.version else {}
            self._observer.say("snapshot applied", **version, does=str(plan))
        return plan

    async def plan(self, snapshot: Snapshot) -> Plan:
        """Return the effect that a snapshot would have now; nothing changes.

        Raises:
            SnapshotError: it has faults.
        """
        async with self._one_at_a_time:
            with no_full_pass():
                found = await self._examine(snapshot, PolicyWarnings(FATES))
                return await in_slices(self._converge(found, dry_run=True), rest=self._rest)

    def _warn(self, found: PolicyWarnings) -> None:
        if found.keys:
            self._observer.notice("policy not enforced: no stage reads it", keys=found.keys, services=found.services)
        if found.without_outbound:
            self._observer.notice(
                "policy has no outbound: its sessions will be refused", services=found.without_outbound
            )

    def reached(self) -> None:
        """Note that the control plane answers."""
        if self.error:
            self._observer.say("control plane is back")
        self.error, self.failing_since = "", None

    def failed(self, error: str) -> None:
        """Note that the control plane does not answer, or has no good snapshot."""
        waiting = {} if self.applied_at is not None else {"so": "the edge waits for its services and listens nowhere"}
        self._observer.notice("control plane failed", error=error, **waiting)
        if not self.error:
            self.failing_since = trio.current_time()
        self.error = error

    async def _examine(self, snapshot: Snapshot, warnings: PolicyWarnings) -> Found:
        found, wrong = await in_slices(self._examiner.examine(snapshot, warnings), rest=self._rest)
        if wrong:
            raise SnapshotError(wrong)
        return found

    def _converge(self, found: Found, *, dry_run: bool) -> Stepwise[Plan]:
        """Apply the changes and cut sessions by their fates; with `dry_run`, only count."""
        added, changed, removed = [], {}, []
        retuned = rechecked = evicted = 0
        while found:
            change, rules = found.popleft()
            if change.before is None:
                added.append(change.name)
            elif change.after is None:
                removed.append(change.name)
            else:
                changed[change.name] = change.fields
            service = self._services.get(change.name)
            enforced = self._enforced & set(change.fields)
            staying = 0 if service is None else service.live
            foreseen: set[Session] = set()
            if service is not None and (enforced & _DEVICE_FIELDS or change.after is None):
                for session in self._services.foresee(service, change.after):
                    if session is not None and session.cut_reason is None:
                        foreseen.add(session)
                        staying -= session.service is service  # it may have moved to another service
                    yield
            cut = len(foreseen)
            if not dry_run:
                yield from self._services.tell(self._services.apply(change, rules), change)
            yield
            if service is not None:
                for session, reason in self._condemned(service, change, rules):
                    if reason is not None and session.cut_reason is None and session not in foreseen:
                        gone = dry_run or self._live.evictions.cut((session,), reason, at_once=0)
                        cut += gone
                        staying -= gone
                    yield
            evicted += cut
            retuned += staying if enforced & _RETUNED else 0
            rechecked += staying if enforced & _DEVICE_FIELDS else 0
        if not dry_run:
            yield from self._services.settle()
        return Plan(
            added=tuple(added),
            changed=changed,
            removed=tuple(removed),
            retuned=retuned,
            rechecked=rechecked,
            evicted=evicted,
        )

    def _condemned(
        self, service: Service, change: Change, rules: SourceRules | None
    ) -> Generator[tuple[Session, Reason | None], None, None]:
        """Give the live sessions that a change may cut, each with the reason to cut it, or None to keep it."""
        if change.after is None or Fate.EVICT in change.fates:
            for session in self._live.each(service):
                yield session, Reason.EVICTED
        elif rechecks := [each for each in self.rechecks if not each.fields.isdisjoint(change.fields)]:
            for session in self._live.each(service):
                yield session, self._recheck(session, change.after, rules, rechecks)

    def _recheck(
        self, session: Session, after: Settings, rules: SourceRules | None, rechecks: Sequence[Recheck]
    ) -> Reason | None:
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
                    self._observer.fault("recheck failed", fault, session=session.id, service=session.service.name)
                    return Reason.FAULT
                if verdict is not CONTINUE:
                    return verdict.reason
        return None
