"""Snapshots of a control plane, the changes that they make, and the protocols of code that follows changes."""

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, runtime_checkable

import attrs

from ..arguments import flag_fault
from ..errors import ConfigurationError, quote
from .changes import fate_of
from .policy import Fate, Settings
from .service import Service

if TYPE_CHECKING:
    from ..session.session import Session

FEW_REMOVED: Final = 10
"""Services that any snapshot may remove, unless none would be left."""


@attrs.frozen(slots=True)
class Snapshot:
    """The settings of all services of an edge, or of some.

    Attributes:
        services: settings by name.
        removed: names of services to remove. Only for a snapshot that is not `full`; unknown names are ignored.
        full: whether services that it does not name are removed.
        version: the control plane's own name for this state, for people and for the next request.
        allow_removal: whether it may remove every service, or more than half of them if these are more than 10. By
            default one that is not `full` may, because it names what it removes; one that is `full` is refused, because
            a control plane that lost its data leaves out services as well.
        faults: found by the reader of the snapshot, which leaves out the settings that have them. With one, nothing is
            granted, and only what the snapshot takes away is applied.

    Raises:
        ConfigurationError: ``Snapshot(removed='shop') must be a set of names, as in frozenset({'shop'})``.
    """

    services: Mapping[str, Settings]
    removed: frozenset[str] = frozenset()
    full: bool = True
    version: str = ""
    allow_removal: bool = attrs.field(default=attrs.Factory(lambda self: self.full is False, takes_self=True))
    faults: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Check the types; the settings are checked when the snapshot is applied, in short steps."""
        if not isinstance(self.services, Mapping):
            _refuse("services", self.services, "must be settings by name, as in {'shop': Settings()}")
        if not isinstance(self.removed, Set):
            _refuse("removed", self.removed, "must be a set of names, as in frozenset({'shop'})")
        if wrong := flag_fault(self.full):
            _refuse("full", self.full, wrong)
        if not isinstance(self.version, str):
            _refuse("version", self.version, "must be text")
        if wrong := flag_fault(self.allow_removal):
            _refuse("allow_removal", self.allow_removal, wrong)
        if not isinstance(self.faults, tuple):
            _refuse("faults", self.faults, "must be a tuple of texts")


def _refuse(name: str, value: object, wrong: str) -> NoReturn:
    raise ConfigurationError(f"Snapshot({name}={quote(value)}) {wrong}")


def removal_fault(removed: int, total: int, *, none_left: bool) -> str:
    """Describe the fault of a snapshot that removes many services and does not say that it may; "" for a good one.

    Args:
        removed: the number of services that it removes.
        total: the number of services before.
        none_left: whether there would be no service afterwards.
    """
    if not removed or (not none_left and (removed <= FEW_REMOVED or 2 * removed <= total)):
        return ""
    services = "the only service" if total == 1 else f"{removed:,} of {total:,} services"
    return f"it would remove {services}: if that is meant, write allow_removal = true at its head, above all services"


@attrs.frozen(slots=True)
class Change:
    """The change of one service by a snapshot.

    Attributes:
        name: the name of the service.
        before: its settings until now; None for a new service.
        after: its new settings; None for a service that is removed.
        fields: the names of the fields that differ, written as in the `changed` of a :class:`Plan`; none for a service
            that is new or removed.
    """

    name: str
    before: Settings | None
    after: Settings | None
    fields: tuple[str, ...] = ()

    @property
    def fates(self) -> frozenset[Fate]:
        """The fates of live sessions, one of each field that differs; ``evict`` for a service that is removed."""
        if self.after is None:
            return frozenset({Fate.EVICT})
        return frozenset(fate_of(name, self.before, self.after) for name in self.fields)


class Watcher(Protocol):
    """An object that keeps something for each service and follows its changes; see :meth:`EdgeContext.watch`.

    For example a stage that keeps an outbound, a rate or device verdicts.
    """

    def changed(self, service: Service, change: Change, /) -> Iterable[None] | None:
        """Follow a change of a service. It must not wait.

        Args:
            service: the service that was added, changed or removed; it has its new settings already.
            change: the settings before and after.

        Returns:
            None, or a generator that does long work in steps: the edge serves sessions between two ``yield``.
        """


@runtime_checkable
class Foreseeing(Protocol):
    """A watcher that cuts sessions when the settings of a service change, or when it is removed."""

    def foresee(self, service: Service, after: Settings | None, /) -> "Iterable[Session | None]":
        """Give the live sessions that it would cut under these settings; nothing changes.

        Args:
            service: a named one.
            after: its new settings. None if it is to be removed: then its own sessions are cut in any case and need not
                be given, but others may be.

        Returns:
            Sessions, with None in between as places to stop.
        """


@runtime_checkable
class Settling(Protocol):
    """A watcher that tidies up after a snapshot."""

    def settle(self) -> Iterable[None]:
        """Tidy up, in steps: every change of a snapshot was applied."""


@attrs.frozen(slots=True, kw_only=True)
class Plan:
    """The effect of a snapshot on services and live sessions.

    Attributes:
        added: new services.
        changed: the names of the fields that change, by service: ``down_rate``, ``hours.since`` for a key of a stage,
            or ``password_hash``.
        removed: services that are removed.
        retuned: live sessions that go on with another rate.
        rechecked: live sessions whose device is judged again.
        evicted: live sessions that are cut.
        missing: workers whose sessions are not counted, because they did not answer in time; 0 for one process.
    """

    added: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    removed: tuple[str, ...] = ()
    retuned: int = 0
    rechecked: int = 0
    evicted: int = 0
    missing: int = 0

    def __bool__(self) -> bool:
        """Whether the snapshot changes anything."""
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        """Describe it in one line: ``changes 2 services; retunes 812 sessions, evicts 3 sessions``."""
        services = [
            f"{verb} {count} {'service' if count == 1 else 'services'}"
            for verb, count in (
                ("adds", len(self.added)), ("changes", len(self.changed)), ("removes", len(self.removed)),
            )
            if count
        ]  # fmt: skip
        sessions = [
            f"{verb} {count} {'session' if count == 1 else 'sessions'}"
            for verb, count in (("retunes", self.retuned), ("rechecks", self.rechecked), ("evicts", self.evicted))
            if count
        ]
        if not services:
            return "changes nothing"
        touched = ", ".join(sessions) or "touches no session"
        if self.missing:
            touched += f"; {self.missing} {'worker' if self.missing == 1 else 'workers'} did not answer"
        return f"{', '.join(services)}; {touched}"
