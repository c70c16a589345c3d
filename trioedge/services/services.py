"""The services of one run of an edge, by name.

Each service is one object whose policy a snapshot swaps in place, so a change of policy changes one object and nothing
else: its gate, its counts, its meters and its connections stay.

| state | event | action | then |
| --- | --- | --- | --- |
| none | a snapshot names it | make a service with an incarnation of its own | named, or disabled |
| none | a stage names it, without a control plane, at most 10,000 times | the same, with the default policy | named |
| named, disabled | a snapshot changes it | swap its settings in place | named, or disabled |
| named, disabled | a snapshot removes it; it has no session | release it, call `on_gone` | gone |
| named, disabled | a snapshot removes it; it has sessions | refuse new ones; the snapshot evicts its own | removed |
| removed | its last session ends, or moves to another service | release it, call `on_gone` | gone |
| removed, gone | its name is named again | make a new service; this object never comes back | as it was |

A named service may have sessions. A disabled one (``enabled = false``) is found and refused with its own words; its
sessions are evicted when it is disabled. A removed or gone one is refused as unknown. Without a control plane a service
is named for the length of the run, so that its gate does not refill when its last session ends.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, KeysView, Mapping
from math import inf
from typing import TYPE_CHECKING, Final

from ..addresses.rules import SourceRules
from ..errors import ENDS, quote
from ..session.meter import Meter, Total
from ..session.verdict import Reason, Reject
from .applying.watchers import Watchers, name_of_code
from .changes import changed_fields
from .listening.ports import Ports
from .policy import DEFAULT_MAX_SESSIONS, Settings
from .service import UNKNOWN_SERVICE, Service
from .snapshot import Change, Snapshot, Watcher
from .terms.terms import Terms

if TYPE_CHECKING:
    from ..structures.shared.limits import EdgeLimits
    from ..telemetry.log import EdgeLog
    from .linking.device_judge import DeviceJudge

DEFAULT_SERVICE: Final = "default"
"""The service of every session on an edge whose stages name none."""

MAX_NAME_LENGTH: Final = 255

MAX_NAMED: Final = 10_000
"""Services on an edge without a control plane, ``default`` included."""

_TOO_MANY: Final = Reject(Reason.CAPACITY, f"{MAX_NAMED:,} services have been named")
_NO_NAME: Final = Reject(Reason.SERVICE, f"a service's name has 1 to {MAX_NAME_LENGTH} letters")


def name_fault(name: object) -> str:
    """Describe the fault of a name that a control plane gives a service; "" for a good one."""
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_NAME_LENGTH:
        return ""
    return f"a service's name is printable text of 1 to {MAX_NAME_LENGTH} letters"


class Services:
    """Every service by name.

    With a control plane, the services that its snapshots name. Without one, every name is a service from its first
    use, with the default policy.

    Attributes:
        governed: whether a control plane says which services there are.
        unnamed: the service of a session before a stage names one. Without a control plane it is the service
            ``default``. With one it has no name, its policy is the default one, and no look-up finds it.
        default_max_sessions: live sessions of a service whose policy says nothing; infinity without a control plane.
        on_traffic: called with a service when its sessions change, and when its bytes move after its meters listened.
        on_gone: called with a service that was removed, once its last session has ended.
        watchers: the objects that follow changes.
        device_judge: the live stage that judges devices; None where the chain has none.
        terms: the quotas and the expiries of the services.
        ports: the listeners that their policies name; set it before the first snapshot.
        up: bytes to upstreams, of the whole edge.
        down: bytes to clients, of the whole edge.
        given: incarnations that another process has given, by the names of services that are about to be added.
    """

    # `_by_name` has the named and the disabled services, one for each name. `_leaving` has the removed ones until their
    # last session ends: for each name those of several incarnations, the oldest first, and no empty list. No service
    # is in both. `unnamed` is in `_by_name` without a control plane, and in neither with one.
    __slots__ = ("_by_name", "_everywhere", "_incarnations", "_leaving", "_log", "default_max_sessions",
                 "device_judge", "down", "given", "governed", "on_gone", "on_traffic", "ports", "terms", "unnamed",
                 "up", "watchers")  # fmt: skip

    def __init__(
        self, up: Total, down: Total, *, governed: bool, log: "EdgeLog | None" = None, terms: Terms | None = None,
        first: int = 1,
    ) -> None:  # fmt: skip
        """Start with the unnamed service only.

        Args:
            up: bytes to upstreams, of the whole edge.
            down: bytes to clients, of the whole edge.
            governed: whether a control plane says which services there are.
            log: logs the exceptions of watchers and of callbacks; without one they are raised.
            terms: the quotas and the expiries; by default by a clock that stands still.
            first: the first incarnation.
        """
        self._log = log
        self.up, self.down = up, down
        self._by_name: dict[str, Service] = {}
        self._leaving: dict[str, list[Service]] = {}
        self._incarnations = itertools.count(first)
        self.watchers = Watchers(log)
        self.device_judge: DeviceJudge | None = None
        self.terms = Terms() if terms is None else terms
        self.ports = Ports()
        self._everywhere: EdgeLimits | None = None
        self.given: dict[str, int] = {}
        self.governed = governed
        self.default_max_sessions: float = DEFAULT_MAX_SESSIONS if governed else inf
        self.on_traffic: list[Callable[[Service], object]] = []
        self.on_gone: list[Callable[[Service], object]] = []
        if governed:
            self.unnamed = Service("", 0, Settings(), Meter(up), Meter(down))
        else:
            self.unnamed = self._by_name[DEFAULT_SERVICE] = self._make(DEFAULT_SERVICE, Settings())

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Service]:
        return iter(tuple(self._by_name.values()))

    @property
    def names(self) -> KeysView[str]:
        """The names of the services; a view, which follows them."""
        return self._by_name.keys()

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Service | None:
        """Give the service of this name, disabled or not, or None. O(1)."""
        return self._by_name.get(name)

    def find(self, service: object) -> Service | Reject:
        """Give the service that a session may have, or the refusal of one that may have none. O(1).

        Args:
            service: a name, which makes a service without a control plane; or a service of this edge.

        Returns:
            The service, or a Reject with reason ``service`` of one that is unknown or disabled; with ``quota`` or
            ``expired`` of one that is over; with ``capacity`` beyond 10,000.

        Raises:
            TypeError: `service` is neither a name nor a service.
        """
        if type(service) is Service:
            found = self._by_name.get(service.name)
            if found is not service:  # removed since, or another edge's
                return service if service is self.unnamed else UNKNOWN_SERVICE
        elif isinstance(service, str):
            service = str.__str__(service)  # it may become a key, and a subclass may have a hash of its own
            found = self._by_name.get(service)
            if found is None:
                return UNKNOWN_SERVICE if self.governed else self._name(service)
        else:
            raise TypeError(f"session.service = {quote(service)} must be a service's name, or a Service")
        return found if found.refusal is None else found.refusal

    def named(self, name: str) -> list[Service]:
        """Give every service of this name: removed ones whose sessions are ending, oldest first, then the named one."""
        found = self._by_name.get(name)
        return [*self._leaving.get(name, ()), *([] if found is None else [found])]

    def all(self) -> Iterator[Service]:
        """Give every service that is not gone: the named and the disabled ones, and removed ones that are ending."""
        leaving = [each for some in self._leaving.values() for each in some]
        return itertools.chain(leaving, tuple(self._by_name.values()))

    def watch(self, watcher: Watcher) -> None:
        """Notify `watcher` of every change from now on, before the watchers that came earlier."""
        self.watchers.add(watcher)

    def apply(self, change: Change, rules: SourceRules | None) -> Service:
        """Apply one change; the caller notifies :attr:`watchers` next. O(1).

        Args:
            change: one that :func:`diff` gave.
            rules: the source rules of ``change.after``, compiled.

        Returns:
            The service that was added, changed or removed.
        """
        name, before, after = change.name, change.before, change.after
        self.ports.note(name, None if before is None else before.policy, None if after is None else after.policy)
        if after is None:
            service = self._by_name.pop(name)
            self.terms.forget(service)
            service.remove()
            if service.live:
                self._leaving.setdefault(name, []).append(service)
            else:
                self._gone(service)
            return service
        if name in self._by_name:
            self._by_name[name].swap(after, rules)
        else:
            self._by_name[name] = self._make(name, after)
            self._by_name[name].rules = rules
        self.terms.apply(self._by_name[name])
        return self._by_name[name]

    def count_everywhere(self, limits: "EdgeLimits") -> None:
        """Count the sessions of services over all workers; call it before the first snapshot.

        Without a control plane no service has a limit, and nothing is counted.
        """
        if self.governed:
            self._everywhere = limits

    def next_incarnation(self) -> int:
        """Give an incarnation that no service has."""
        return next(self._incarnations)

    def entered(self, service: Service) -> None:
        """Count one more live session of a service that is not removed; the registry calls this."""
        service.opened += 1
        service.live += 1
        if service.everywhere is not None:
            service.everywhere.entered(service.name)
        if self.on_traffic:
            self._notify(service)

    def left(self, service: Service) -> None:
        """Count one live session less; the last one of a removed service releases it. The registry calls this."""
        service.live -= 1
        if service.everywhere is not None:
            service.everywhere.left(service.name)
        if self.on_traffic:
            self._notify(service)
        if service.removed and not service.live:
            leaving = self._leaving[service.name]
            leaving.remove(service)
            if not leaving:
                del self._leaving[service.name]
            self._gone(service)

    def _name(self, name: str) -> Service | Reject:
        if not 0 < len(name) <= MAX_NAME_LENGTH:
            return _NO_NAME
        if len(self._by_name) >= MAX_NAMED:
            return _TOO_MANY
        service = self._by_name[name] = self._make(name, Settings())
        return service

    def _make(self, name: str, settings: Settings) -> Service:
        def wake() -> None:  # it and the service refer to each other until `Service.release`
            self._notify(service)

        meters = Meter(self.up, wake), Meter(self.down, wake)
        incarnation = self.given.pop(name, 0) or next(self._incarnations)
        service = Service(name, incarnation, settings, *meters, self.default_max_sessions)
        service.everywhere = self._everywhere
        return service

    def _gone(self, service: Service) -> None:
        service.release()
        for hook in self.on_gone:
            hook(service)

    def _notify(self, service: Service) -> None:
        if service.incarnation:  # the unnamed service of an edge with a control plane has no limits and no reports
            for hook in self.on_traffic:
                try:
                    hook(service)
                except ENDS:
                    raise
                except BaseException as fault:
                    if self._log is None:
                        raise
                    self._log.fault("traffic callback failed", fault, callback=name_of_code(hook), service=service.name)


class ServicesView(Mapping[str, Service]):
    """The services of an edge, as a read-only mapping of names to :class:`Service`.

    ``view["shop"]`` raises KeyError and ``view.get("shop")`` returns None if no service has the name. The view follows
    the edge: it shows the services that there are at each call. A snapshot that changes a service keeps its object.
    """

    __slots__ = ("_services",)

    def __init__(self, services: Services) -> None:
        self._services = services

    def __len__(self) -> int:
        return len(self._services)

    def __iter__(self) -> Iterator[str]:
        return iter([service.name for service in self._services])

    def __getitem__(self, name: str) -> Service:
        service = self._services.get(name)
        if service is None:
            raise KeyError(name)
        return service


def diff(services: Services, snapshot: Snapshot) -> Generator[Change | None, None, None]:
    """Compare a snapshot with the named services, in short steps.

    Yields:
        The change of a service; or None, as a place to stop, for a service that stays as it is and within long lists.
    """
    for name, after in snapshot.services.items():
        service = services.get(name)
        if service is None:
            yield Change(name, None, after)
        elif fields := (yield from changed_fields(service.settings, after)):
            yield Change(name, service.settings, after, fields)
        else:
            yield None
    if snapshot.full:
        for service in services:
            yield None if service.name in snapshot.services else Change(service.name, service.settings, None)
    else:
        for name in snapshot.removed:
            service = services.get(name)
            yield None if service is None else Change(name, service.settings, None)
