"""Examines snapshots: the changes that one makes, its faults and warnings, and the rules of its sources."""

from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping
from itertools import chain
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from ..addresses.rules import SourceRules, compile_rules
from ..errors import Faults, RulesError, quote
from .applying.outbounds import NO_OUTBOUNDS, OutboundFacts, leads_somewhere, outbound_faults
from .changes import ENTRIES_PER_STEP, ends_step
from .credentials import check_hash
from .policy import DEFAULTS, FIELDS, Policy, Settings, faults, is_settings
from .services import Services, diff, name_fault
from .snapshot import Change, Snapshot
from .stage_keys import StageKeys

Found: TypeAlias = deque[tuple[Change, SourceRules | None]]
"""Changes with the compiled rules of their new settings; taken from the left end, so that no step frees many."""

OwnListener: TypeAlias = Callable[[object], str | None]
"""Gives the listener of the edge that a destination reaches, or None."""

_SOURCE_FIELDS: Final = frozenset({"accept", "reject"})


MAX_NAMED: Final = 3
"""Services that a warning names as examples."""


class PolicyWarnings:
    """Collects two kinds of policies, with the first services that have them.

    One sets a field that no stage reads. The other names no destination where the endpoint has no other one. Keys of
    users' stages are always read: a service may only have those that a stage names.

    Attributes:
        without_destination: the first services whose sessions are refused because they have no destination.
    """

    # `_not_enforced` has at most MAX_NAMED services for each field that is set and not read.
    __slots__ = ("_keys", "_needs_destination", "_not_enforced", "_outbounds", "without_destination")

    def __init__(
        self,
        enforced: Collection[str],
        *,
        needs_destination: bool = False,
        outbounds: Mapping[str, OutboundFacts] = NO_OUTBOUNDS,
    ) -> None:
        """Collect nothing yet.

        Args:
            enforced: the policy fields that some stage reads.
            needs_destination: whether sessions are refused if their policy names no destination.
            outbounds: of the edge, by name.
        """
        self._keys = tuple(field.name for field in FIELDS if field.name not in enforced)
        self._needs_destination = needs_destination
        self._outbounds = outbounds
        self._not_enforced: dict[str, list[str]] = {}
        self.without_destination: list[str] = []

    def note(self, service: str, policy: Policy) -> None:
        """Add the policy of a service. Takes some microseconds."""
        for key in self._keys:
            if getattr(policy, key) != getattr(DEFAULTS, key):
                _add(self._not_enforced.setdefault(key, []), service)
        if self._needs_destination and policy.enabled and not leads_somewhere(policy, self._outbounds):
            _add(self.without_destination, service)

    @property
    def keys(self) -> list[str]:
        """The fields that are set and that no stage reads, sorted."""
        return sorted(self._not_enforced)

    @property
    def services(self) -> list[str]:
        """The first services that set one of these fields, in the order in which they were added, field by field."""
        return list(dict.fromkeys(chain.from_iterable(self._not_enforced.values())))[:MAX_NAMED]


def _add(services: list[str], service: str) -> None:
    if len(services) < MAX_NAMED:
        services.append(service)


class Examiner:
    """Examines the snapshots of one run of an edge; nothing of the edge changes."""

    # Rules by the lengths and hashes of their lists, for as long as a service has them.
    __slots__ = ("_compiled", "_outbounds", "_services", "_stage_keys")

    def __init__(
        self, services: Services, stage_keys: StageKeys, outbounds: Mapping[str, OutboundFacts] = NO_OUTBOUNDS
    ) -> None:
        """Start without compiled rules.

        Args:
            services: the services that snapshots are compared with.
            stage_keys: the keys of users' stages that the chain reads; others are faults.
            outbounds: of the edge, by name; a policy that names another one has a fault.
        """
        self._services = services
        self._stage_keys = stage_keys
        self._outbounds = outbounds
        self._compiled: WeakValueDictionary[tuple[int, ...], SourceRules] = WeakValueDictionary()

    def examine(
        self,
        snapshot: Snapshot,
        warnings: PolicyWarnings,
        own_listener: OwnListener = lambda _: None,
    ) -> Generator[None, None, tuple[Found, Faults]]:
        """Find the changes that a snapshot makes, check them and compile their rules, in short steps.

        Args:
            snapshot: any snapshot; the values in its settings need not be right.
            warnings: is given each policy that is new or changed.
            own_listener: gives the listener of the edge that a destination reaches, or None.

        Returns:
            The changes, and the faults. With faults there are no changes.
        """
        found: Found = deque()
        wrong = Faults()
        yield from _check_types(snapshot, wrong)
        changes = iter(()) if wrong else diff(self._services, snapshot)
        wrong.extend(snapshot.faults)
        for change in changes:
            yield
            if change is None:
                continue
            path, rules = f"services.{change.name}", None
            both = change.name in snapshot.services and change.name in snapshot.removed
            if both and not snapshot.full and not change.fields:
                wrong.note(f"{path} is both there and removed")
            if change.after is not None:
                if unnameable := name_fault(change.name):
                    wrong.note(f"services.{quote(change.name)}: {unnameable}")
                wrong.extend(self._faults(change.after, path))
                for field in ("destination", "outbound"):
                    to = getattr(change.after.policy, field)
                    if to is not None and (listener := own_listener(to)) is not None:
                        wrong.note(
                            f"{path}.{field} = {quote(to)} is {listener}, where this edge itself listens: its "
                            "sessions would come back for ever"
                        )
                warnings.note(change.name, change.after.policy)
                try:
                    rules = yield from self.rules(change, change.after.policy)
                except RulesError as error:
                    wrong.extend((f"{path}.{fault}" for fault in error.faults), error.more)
            found.append((change, rules))
        if not wrong:
            yield from self._services.ports.conflicts(found, wrong)
        while wrong and found:
            found.popleft()
            yield
        return found, wrong

    def _faults(self, settings: Settings, path: str) -> list[str]:
        """Give the faults of settings, except those of source entries."""
        policy = settings.policy
        found = [*faults(policy, path)]
        if not found:
            found = [*outbound_faults(policy, path, self._outbounds), *self._services.ports.faults(policy, path)]
        found += self._stage_keys.faults(policy.stages, path)
        password_hash = settings.credentials.password_hash
        if password_hash is not None and (wrong := check_hash(password_hash)):
            found.append(f"{path}.password_hash {wrong}")
        return found

    def rules(self, change: Change, policy: Policy) -> Generator[None, None, SourceRules | None]:
        """Give the source rules of a policy: its present ones, equal ones of another policy, or newly compiled ones."""
        if change.before is not None and not _SOURCE_FIELDS & set(change.fields):
            service = self._services.get(change.name)
            return None if service is None else service.rules
        if not (isinstance(policy.accept, tuple) and isinstance(policy.reject, tuple)):
            return None
        if not policy.accept and not policy.reject:
            return None
        try:
            accept, reject = (yield from _hash(policy.accept)), (yield from _hash(policy.reject))
        except TypeError:  # an entry is no text: the compiler has the message
            return (yield from compile_rules(policy.accept, policy.reject))
        key = len(policy.accept), accept, len(policy.reject), reject
        rules = self._compiled.get(key)
        if rules is None:
            rules = self._compiled[key] = yield from compile_rules(policy.accept, policy.reject)
        return rules


def _check_types(snapshot: Snapshot, wrong: Faults) -> Generator[None, None, None]:
    """Note the services whose settings are something else, which cannot be compared."""
    for number, (name, settings) in enumerate(snapshot.services.items()):
        if not is_settings(settings):
            wrong.note(f"services.{name} = {quote(settings)} must be Settings, as in Settings(Policy(session_rate=20))")
        if ends_step(number):
            yield


def _hash(entries: tuple[str, ...]) -> Generator[None, None, int]:
    """Hash a long list in short steps. Python keys its hashes of text anew in each process."""
    digest = 0
    for start in range(0, len(entries), ENTRIES_PER_STEP):
        digest = hash((digest, entries[start : start + ENTRIES_PER_STEP]))
        yield
    return digest
