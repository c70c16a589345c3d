"""Let snapshots hold: examined whole, then applied a service at a time, and never at the cost of a session's bytes.

Seed, layer six. Everything here is a generator that stops often, so that the loop is free again within a millisecond
however large a snapshot is; see `slices`.
"""

from collections import deque
from collections.abc import Callable, Collection, Generator
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

import attrs
import trio

from ..addresses.rules import SourceRules, compile_rules
from ..errors import Faults, RulesError
from ..loop.collector import MANY, no_full_pass, settle
from ..loop.slices import REST, in_slices
from ..session.session import Session
from ..session.verdict import Reason, Reject, Verdict
from ..telemetry.observer import Observer
from .changes import ENTRIES_PER_STEP
from .control_plane import SnapshotError
from .credentials import check_hash
from .plan import Plan
from .policy import FATES, Fate, Policy, Settings, faults
from .registry import Registry
from .services import MAX_NAME_LENGTH, Services, diff
from .snapshot import Change, Snapshot
from .stage_keys import NO_KEYS, StageKeys
from .unenforced import Unenforced

APPLY_REST: Final = 4
"""How many times longer than its work the applying of changes rests; no more, for no cancel ends it."""

_RETUNED: Final = frozenset(name for name, fate in FATES.items() if fate is Fate.RETUNE)
_SOURCE_FIELDS: Final = frozenset({"accept", "reject"})
_DEVICE_FIELDS: Final = frozenset({"device_limit", "device_handover"})

Decide: TypeAlias = Callable[[Session], Verdict]

_Found: TypeAlias = deque[tuple[Change, SourceRules | None]]
"""Changes and the rules of what is to be; taken from its left end, so that nothing long is freed at once."""


@attrs.frozen(slots=True)
class Recheck:
    """A decision that is asked again about live sessions when a policy changes.

    Attributes:
        fields: of a policy, after whose change it is asked.
        decide: the live stage's answer; a Reject cuts the session.
    """

    fields: frozenset[str]
    decide: "Decide"


class SnapshotApplier:
    """The edge's end of the line to its control plane.

    Attributes:
        rechecks: the decisions of the chain that are asked again when a policy changes.
        on_applied: called after each snapshot that was applied.
        version: of the snapshot that is applied; empty before the first.
        applied_at: when it was applied, in seconds of trio's clock; None before the first.
        error: why there is no news of the control plane; empty when all is well.
        failing_since: since when; None when all is well.
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
        """Let nothing hold yet.

        Args:
            services: what snapshots are applied to.
            live: the sessions that they concern.
            observer: told of what people should know.
            enforced: the policy fields that some stage of the chain reads; others earn a warning.
            stage_keys: the keys of users' stages that the chain reads; others are faults.
        """
        self.stage_keys = stage_keys
        self._services = services
        self._live = live
        self._observer = observer
        self._enforced = frozenset(enforced)
        self._compiled: WeakValueDictionary[tuple[int, ...], SourceRules] = WeakValueDictionary()
        self._one_at_a_time = trio.Lock()
        self._rest = 0.0
        self._new = 0  # services added or changed since the last gc.freeze()
        self.rechecks: tuple[Recheck, ...] = ()
        self.on_applied: list[Callable[[], object]] = []
        self.version = ""
        self.applied_at: float | None = None
        self.error = ""
        self.failing_since: float | None = None

    def serving(self) -> None:
        """From now on there are sessions, which must not notice."""
        self._rest = REST

    async def apply(self, snapshot: Snapshot) -> Plan:
        """Let a snapshot hold, all of it or nothing. After a cancel it holds whole, or not at all.

        Returns:
            What it did.

        Raises:
            SnapshotError: every fault. Nothing has changed.
        """
        async with self._one_at_a_time:
            unenforced = Unenforced(self._enforced)
            with no_full_pass():
                found = await in_slices(self._examine(snapshot, unenforced), rest=self._rest)
                with trio.CancelScope(shield=True):  # half of it would leave sessions that nobody finds again
                    plan = await in_slices(self._converge(found, hold=True), rest=min(self._rest, APPLY_REST))
                    self._new += len(plan.added) + len(plan.changed)
                    if self._new > MANY:
                        self._new = 0
                        await trio.lowlevel.checkpoint()  # what comes takes as long as some slices
                        settle()
                        await trio.lowlevel.checkpoint()
            self.version, self.applied_at = snapshot.version, trio.current_time()
            self.reached()
            for hook in self.on_applied:
                hook()
        if unenforced:
            self._observer.notice(
                "policy not enforced: no stage reads it", keys=unenforced.keys, services=unenforced.services
            )
        if plan:
            version = {"version": snapshot.version} if snapshot.version else {}  # a program's own need not have one
            self._observer.say("snapshot applied", **version, does=str(plan))
        return plan

    async def plan(self, snapshot: Snapshot) -> Plan:
        """Say what a snapshot would do now; nothing changes.

        Raises:
            SnapshotError: every fault.
        """
        async with self._one_at_a_time:
            with no_full_pass():
                found = await in_slices(self._examine(snapshot, Unenforced(FATES)), rest=self._rest)
                return await in_slices(self._converge(found, hold=False), rest=self._rest)

    def reached(self) -> None:
        """The control plane answers."""
        if self.error:
            self._observer.say("control plane is back")
        self.error, self.failing_since = "", None

    def failed(self, error: str) -> None:
        """It does not, or what it says cannot be; what it said before still holds."""
        waiting = {} if self.applied_at is not None else {"so": "the edge waits for its services and listens nowhere"}
        self._observer.notice("control plane failed", error=error, **waiting)
        if not self.error:
            self.failing_since = trio.current_time()
        self.error = error

    def _examine(self, snapshot: Snapshot, unenforced: Unenforced) -> Generator[None, None, _Found]:
        """Find what changes, check all of it and compile its rules, before any of it holds."""
        found: _Found = deque()
        wrong = Faults()
        for change in diff(self._services, snapshot):
            yield
            if change is None:
                continue
            path, rules = f"services.{change.name}", None
            both = change.name in snapshot.services and change.name in snapshot.removed
            if both and not snapshot.full and not change.fields:
                wrong.note(f"{path} is both there and removed")
            if change.after is not None:
                if not (isinstance(change.name, str) and 0 < len(change.name) <= MAX_NAME_LENGTH):
                    wrong.note(f"{path}: a service's name is text of 1 to {MAX_NAME_LENGTH} letters")
                wrong.extend(_faults(change.after, path, self.stage_keys))
                unenforced.note(change.name, change.after.policy)
                try:
                    rules = yield from self._rules(change, change.after.policy)
                except RulesError as error:
                    wrong.extend((f"{path}.{fault}" for fault in error.faults), error.more)
            found.append((change, rules))
        if wrong:
            while found:
                found.popleft()
                yield
            raise SnapshotError(wrong)
        return found

    def _rules(self, change: Change, policy: Policy) -> Generator[None, None, SourceRules | None]:
        """Give a policy's source rules: those it had, or those of another one that are equal, or compiled now."""
        if change.before is not None and not _SOURCE_FIELDS & set(change.fields):
            service = self._services.get(change.name)
            return None if service is None else service.rules
        if not (isinstance(policy.accept, tuple) and isinstance(policy.reject, tuple)):
            return None
        if not policy.accept and not policy.reject:
            return None
        try:
            accept, reject = (yield from _hash(policy.accept)), (yield from _hash(policy.reject))
        except TypeError:  # there is one that is no text, which the compiler says better
            return (yield from compile_rules(policy.accept, policy.reject))
        key = len(policy.accept), accept, len(policy.reject), reject
        rules = self._compiled.get(key)
        if rules is None:
            rules = self._compiled[key] = yield from compile_rules(policy.accept, policy.reject)
        return rules

    def _converge(self, found: _Found, *, hold: bool) -> Generator[None, None, Plan]:
        """Count what changes mean for live sessions and, with `hold`, let them mean it."""
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
            rechecks = [each.decide for each in self.rechecks if not each.fields.isdisjoint(change.fields)]
            staying = 0 if service is None else service.live
            foreseen: set[Session] = set()
            if service is not None and (enforced & _DEVICE_FIELDS or change.after is None):
                for session in self._services.foresee(service, change.after):
                    if session is not None and session.cut_reason is None:
                        foreseen.add(session)
                        staying -= session.service is service  # it may be of another service since it came in
                    yield
            cut = len(foreseen)
            if hold:
                yield from self._services.tell(self._services.apply(change, rules), change)
            yield
            if service is not None and (rechecks or Fate.EVICT in change.fates):
                for session in self._live.each(service):
                    reason = self._condemns(change, rules, rechecks, session)
                    if reason is not None and session not in foreseen:
                        gone = session.cut(reason) if hold else session.cut_reason is None
                        cut += gone
                        staying -= gone
                    yield
            evicted += cut
            retuned += staying if enforced & _RETUNED else 0
            rechecked += staying if enforced & _DEVICE_FIELDS else 0
        if hold:
            yield from self._services.settle()
        return Plan(
            added=tuple(added),
            changed=changed,
            removed=tuple(removed),
            retuned=retuned,
            rechecked=rechecked,
            evicted=evicted,
        )

    def _condemns(
        self, change: Change, rules: SourceRules | None, rechecks: list[Decide], session: Session
    ) -> Reason | None:
        """Give the reason to cut a live session under its service's new settings, or None."""
        if change.after is None or Fate.EVICT in change.fates:
            return Reason.EVICTED
        with session.service.under(change.after, rules):  # a plan asks before they are applied
            for decide in rechecks:
                try:
                    verdict = decide(session)
                except Exception as fault:
                    self._observer.fault("recheck failed", fault, session=session.id, service=change.name)
                    return Reason.FAULT
                if isinstance(verdict, Reject):
                    return verdict.reason
        return None


def _faults(settings: Settings, path: str, stage_keys: StageKeys) -> list[str]:
    """Give everything that is wrong with settings but their source entries."""
    found = [*faults(settings.policy, path), *stage_keys.faults(settings.policy.stages, path)]
    password_hash = settings.credentials.password_hash
    if password_hash is not None and (wrong := check_hash(password_hash)):
        found.append(f"{path}.password_hash {wrong}")
    return found


def _hash(entries: tuple[str, ...]) -> Generator[None, None, int]:
    """Hash a long list in short steps; Python keys its hashes of text anew in each process."""
    digest = 0
    for start in range(0, len(entries), ENTRIES_PER_STEP):
        digest = hash((digest, entries[start : start + ENTRIES_PER_STEP]))
        yield
    return digest
